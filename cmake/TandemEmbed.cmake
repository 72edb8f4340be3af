# tandem_embed(TARGET FILE NAME): gives TARGET the bytes of FILE as
# `extern const std::string_view NAME` in namespace tandem::data, so that the program needs no data
# files beside it. FILE may be made by the build.
set(TANDEM_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_file.cmake)
function(tandem_embed target file name)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${name}.cpp)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${output} -DNAME=${name}
            -P ${TANDEM_EMBED_SCRIPT}
    DEPENDS ${file} ${TANDEM_EMBED_SCRIPT}
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
