# Warning, hardening and sanitizer flags, carried by the interface target ota_flags.
add_library(ota_flags INTERFACE)
target_compile_definitions(ota_flags INTERFACE _GNU_SOURCE OTA_VERSION="${PROJECT_VERSION}")
target_compile_options(ota_flags INTERFACE
	-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes
	-Wmissing-prototypes -Wmissing-declarations -Wold-style-definition -Wpointer-arith -Wcast-qual
	-Wwrite-strings -Wformat=2 -Wswitch-enum -Wundef -Wvla -Walloca -Wredundant-decls
	-Wnested-externs -Winit-self -Wfloat-equal -Wnull-dereference -Wdate-time -Wunused-macros)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	target_compile_options(ota_flags INTERFACE
		-Wcast-align=strict -Wformat-signedness -Wformat-overflow=2 -Wformat-truncation=2
		-Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wjump-misses-init
		-Wimplicit-fallthrough=5)
else()
	target_compile_options(ota_flags INTERFACE
		-Wcast-align -Wimplicit-fallthrough -Wmissing-variable-declarations)
endif()
if(OTA_WERROR)
	target_compile_options(ota_flags INTERFACE -Werror)
endif()

if(OTA_SANITIZE)
	string(REPLACE ";" "," OTA_SANITIZE_LIST "${OTA_SANITIZE}")
	target_compile_options(ota_flags INTERFACE -fsanitize=${OTA_SANITIZE_LIST}
		-fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
	# nodelete: the broker unloads the plugin before the leak report is symbolised.
	target_link_options(ota_flags INTERFACE -fsanitize=${OTA_SANITIZE_LIST} -Wl,-z,nodelete)
else()
	target_compile_options(ota_flags INTERFACE -fstack-protector-strong -fstack-clash-protection
		-fcf-protection=full -fno-strict-aliasing)
	if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
		target_compile_options(ota_flags INTERFACE -ftrivial-auto-var-init=zero)
	endif()
	if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
		target_compile_options(ota_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
	endif()
	target_link_options(ota_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
