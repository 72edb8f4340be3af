#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tandem {

// One row by its header's names.
using CsvRow = std::map<std::string, std::string>;

// Comma-separated values with a header, fields in double quotes where needed (RFC 4180). Errors
// name the line. Rows of another width than the header's are errors.
Result<std::vector<CsvRow>> parse_csv(std::string_view text);

}  // namespace tandem
