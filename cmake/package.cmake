# What belongs to an installation beside the programs, and the Debian package: `cpack --config build/CPackConfig.cmake`.
configure_file(package/ota.conf.in ota.conf @ONLY)
install(DIRECTORY sql/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mosquitto-ota/sql)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ota.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(PROGRAMS examples/device/device.sh DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN *.md PATTERN *.svg)

# Only for the package: what Debian wants, finished by package/finish.cmake.
install(FILES package/copyright package/changelog DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES package/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME mosquitto-ota)
install(FILES package/README.keys DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/mosquitto/ota/keys.d RENAME README)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mosquitto-ota)
set(CPACK_PACKAGE_CONTACT "mosquitto-ota maintainers <maintainers@mosquitto-ota.example>"
	CACHE STRING "Who maintains the package")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "firmware updates of device fleets by the Mosquitto broker itself")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
	"A plugin that turns the Mosquitto broker into the firmware-update server of a
device fleet: signed releases, staged rollouts, automatic halt, and an audit
log in PostgreSQL. The package has the plugin, the command line mosquitto_ota,
the same as a module of mosquitto_ctrl, and the SQL of the database.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
	OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/package/finish.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "mosquitto (>= 2.0.11)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "mosquitto-clients, postgresql (>= 15)")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/conffiles "/etc/mosquitto/ota/keys.d/README\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
	${CMAKE_CURRENT_SOURCE_DIR}/package/postinst ${CMAKE_CURRENT_SOURCE_DIR}/package/prerm
	${CMAKE_CURRENT_SOURCE_DIR}/package/postrm ${CMAKE_CURRENT_BINARY_DIR}/conffiles)
include(CPack)
