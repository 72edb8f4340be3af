# tandem_embed(TARGET FILE SYMBOL): gives TARGET the text of FILE as
# `extern const std::string_view SYMBOL` in namespace tandem (a raw string in a generated source).
# The build follows changes of FILE.
function(tandem_embed target file symbol)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} TANDEM_EMBED_TEXT)
  set(TANDEM_EMBED_SYMBOL ${symbol})
  configure_file(${CMAKE_SOURCE_DIR}/cmake/embedded_text.cpp.in ${source} @ONLY)
  target_sources(${target} PRIVATE ${source})
endfunction()
