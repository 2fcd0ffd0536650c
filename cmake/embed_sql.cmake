# The SQL of sql/ becomes part of the plugin, so that it never looks for its own files at run time.
# Each file is an entry of one generated table; see include/ota/store/sql_files.h.
file(GLOB OTA_SQL_FILES CONFIGURE_DEPENDS
	${CMAKE_CURRENT_SOURCE_DIR}/sql/migrations/*.sql
	${CMAKE_CURRENT_SOURCE_DIR}/sql/functions/*.sql
	${CMAKE_CURRENT_SOURCE_DIR}/sql/views/*.sql
	${CMAKE_CURRENT_SOURCE_DIR}/sql/roles/*.sql)
set(OTA_EMBEDDED_SQL ${CMAKE_CURRENT_BINARY_DIR}/sql_files.c)
add_custom_command(
	OUTPUT ${OTA_EMBEDDED_SQL}
	COMMAND ${CMAKE_COMMAND} -DOUTPUT=${OTA_EMBEDDED_SQL}
		-DSQL_DIR=${CMAKE_CURRENT_SOURCE_DIR}/sql
		-P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/generate_sql_table.cmake
	DEPENDS ${OTA_SQL_FILES} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/generate_sql_table.cmake
	COMMENT "Embedding sql/"
	VERBATIM)
