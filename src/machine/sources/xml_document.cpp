#include "machine/sources/xml_document.h"

#include <algorithm>

namespace tandem {

Status parse_xml(std::string_view text, const std::string& source, const std::string& expected,
                 pugi::xml_document& document) {
  if (const std::size_t at = text.find("<!ENTITY"); at != std::string_view::npos)
    return malformed(source + " at byte " + std::to_string(at), "declares XML entities: not read",
                     expected);
  // A tree takes some 100 bytes a node; the largest machines' recordings have tens of thousands.
  constexpr std::ptrdiff_t kMaxMarks = 2'000'000;
  if (std::count(text.begin(), text.end(), '<') > kMaxMarks)
    return unsupported(source, "too many XML elements", expected);
  const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  if (parsed) return {};
  return malformed(source + " at byte " + std::to_string(parsed.offset),
                   "not well-formed XML: " + std::string(parsed.description()), expected);
}

}  // namespace tandem
