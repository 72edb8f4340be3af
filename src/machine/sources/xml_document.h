#pragma once

#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tandem {

// Parses a recording of `source` into `document`. Errors, at the byte where it breaks: XML that is
// not well-formed (cut off) or has elements by the million, and XML that declares entities, which
// no tool writes; pugixml would neither expand them nor say so. `expected`: what the text should
// have been, for the message.
Status parse_xml(std::string_view text, const std::string& source, const std::string& expected,
                 pugi::xml_document& document);

}  // namespace tandem
