# Run by cpack on the staged tree: what Debian wants compressed is, the way Debian wants it.
file(GLOB_RECURSE pages ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/man/*.[1-8]
	${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/doc/mosquitto-ota/changelog)
foreach(page ${pages})
	execute_process(COMMAND gzip -9nf ${page} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
