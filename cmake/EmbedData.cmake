# tandem_embed(NAME identifier FILE path OUT_SOURCES list)
#
# Makes a .cpp that holds the file's text as `const std::string_view tandem::data::NAME`, so that
# the program needs no data files beside it. Appends its path to the list OUT_SOURCES.
set(TANDEM_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_file.cmake)
function(tandem_embed)
  cmake_parse_arguments(EMBED "" "NAME;FILE;OUT_SOURCES" "" ${ARGN})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${EMBED_NAME}.cpp)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${EMBED_FILE} -DOUTPUT=${output} -DNAME=${EMBED_NAME}
            -P ${TANDEM_EMBED_SCRIPT}
    DEPENDS ${EMBED_FILE} ${TANDEM_EMBED_SCRIPT}
    VERBATIM)
  set(sources ${${EMBED_OUT_SOURCES}} ${output})
  set(${EMBED_OUT_SOURCES} ${sources} PARENT_SCOPE)
endfunction()
