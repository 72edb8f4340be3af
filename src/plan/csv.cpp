#include "plan/csv.h"

#include <fmt/format.h>

namespace tandem {
namespace {

// Reads one record from the front of `text`; false at its end. `lines` counts line breaks read.
bool next_record(std::string_view& text, std::vector<std::string>& fields, std::size_t& lines) {
  fields.clear();
  if (text.empty()) return false;
  std::string field;
  bool quoted = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++lines;
    if (quoted) {
      if (c != '"') {
        field += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.push_back(std::move(field));
      field.clear();
    } else if (c == '\n') {
      ++i;
      break;
    } else if (c != '\r') {
      field += c;
    }
  }
  fields.push_back(std::move(field));
  text.remove_prefix(i);
  return true;
}

}  // namespace

Result<std::vector<CsvRow>> parse_csv(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::string> header;
  std::vector<std::string> fields;
  std::size_t line = 1;
  if (!next_record(text, header, line)) return malformed("CSV", "empty file");
  std::vector<CsvRow> rows;
  while (true) {
    const std::size_t begins = line;
    if (!next_record(text, fields, line)) break;
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (fields.size() != header.size()) {
      return malformed(fmt::format("CSV line {}", begins), "wrong number of fields",
                       std::to_string(header.size()), std::to_string(fields.size()));
    }
    CsvRow row;
    for (std::size_t i = 0; i < fields.size(); ++i) row[header[i]] = fields[i];
    row["line"] = std::to_string(begins);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tandem
