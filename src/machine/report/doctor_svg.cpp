#include <algorithm>

#include "machine/findings/findings.h"
#include "machine/report/doctor_report.h"
#include "machine/report/machine_tree.h"

namespace tandem {
namespace {

constexpr int kRowHeight = 46;
constexpr int kBoxHeight = 32;
constexpr int kIndent = 44;
constexpr int kMargin = 24;
constexpr double kCharWidth = 7.5;  // of the 13 px font, generously

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else
      result += c;
  }
  return result;
}

struct Row {
  const TreeNode* node = nullptr;
  int depth = 0;
  int parent = -1;
};

void flatten(const TreeNode& node, int depth, int parent, std::vector<Row>& rows) {
  const int own = static_cast<int>(rows.size());
  rows.push_back({&node, depth, parent});
  for (const TreeNode& child : node.children) flatten(child, depth + 1, own, rows);
}

const char* fill_of(TreeNode::Kind kind) {
  switch (kind) {
    case TreeNode::Kind::kHost:
      return "#e8eef7";
    case TreeNode::Kind::kNuma:
      return "#f1f1f1";
    case TreeNode::Kind::kPort:
      return "#ffffff";
    case TreeNode::Kind::kSwitch:
      return "#fff7e0";
    case TreeNode::Kind::kChipset:
      return "#fde9d9";
    case TreeNode::Kind::kGpu:
      return "#e3f4e3";
    case TreeNode::Kind::kCpu:
      return "#e8eef7";
  }
  return "#ffffff";
}

const char* stroke_of(Severity severity) {
  return severity == Severity::kError     ? "#c62828"
         : severity == Severity::kWarning ? "#e08600"
                                          : "#7a869a";
}

int x_of(const Row& row) {
  return kMargin + row.depth * kIndent;
}
int width_of(const std::string& text) {
  return static_cast<int>(static_cast<double>(text.size()) * kCharWidth) + 24;
}

std::string text_at(int x, int y, const std::string& text, const char* style) {
  return "<text x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" " + style + ">" +
         escaped(text) + "</text>\n";
}

void draw_row(const std::vector<Row>& rows, int index, std::string& out) {
  const Row& row = rows[static_cast<std::size_t>(index)];
  const int x = x_of(row);
  const int y = kMargin + index * kRowHeight;
  if (row.parent >= 0) {
    const int from_x = x_of(rows[static_cast<std::size_t>(row.parent)]) + 16;
    const int from_y = kMargin + row.parent * kRowHeight + kBoxHeight;
    out += "<path d=\"M" + std::to_string(from_x) + " " + std::to_string(from_y) + " V" +
           std::to_string(y + kBoxHeight / 2) + " H" + std::to_string(x) +
           "\" fill=\"none\" stroke=\"" + stroke_of(row.node->severity) +
           "\" stroke-width=\"1.5\"/>\n";
  }
  const int width = width_of(row.node->label);
  out += "<rect x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" width=\"" +
         std::to_string(width) + "\" height=\"" + std::to_string(kBoxHeight) +
         "\" rx=\"5\" fill=\"" + fill_of(row.node->kind) + "\" stroke=\"" +
         stroke_of(row.node->severity) + "\" stroke-width=\"" +
         (row.node->severity >= Severity::kWarning ? "2" : "1") + "\"/>\n";
  out += text_at(x + 12, y + 21, row.node->label,
                 row.node->kind == TreeNode::Kind::kGpu ? "font-weight=\"bold\"" : "");
  if (!row.node->link.empty())
    out += text_at(x + width + 10, y + 21, row.node->link, "fill=\"#555\"");
}

struct Page {
  std::string body;
  int width = 0;
  int y = 0;

  void line(int x, const std::string& text, const char* style) {
    body += text_at(x, y, text, style);
    width = std::max(width, x + width_of(text));
  }
};

void draw_matrix(const Survey& survey, Page& page) {
  if (num_gpus(survey) > 16) return;  // too wide to read
  const auto rows = pair_matrix(survey);
  const auto lines = transport_lines(survey);
  if (rows.empty() && lines.empty()) return;
  constexpr int kCell = 76;
  page.y += 14;
  page.line(kMargin, "Between the GPUs", "font-weight=\"bold\"");
  for (const auto& row : rows) {
    page.y += 22;
    for (std::size_t i = 0; i < row.size(); ++i)
      page.line(kMargin + static_cast<int>(i) * kCell, row[i], "");
  }
  page.y += 22;
  if (!rows.empty()) page.line(kMargin, pair_legend(), "fill=\"#555\" font-size=\"11\"");
  for (const std::string& line : lines) {
    page.y += 20;
    page.line(kMargin, line, "");
  }
  page.y += 16;
}

void draw_findings(const std::vector<Finding>& findings, Page& page) {
  page.y += 20;
  page.line(kMargin, "Verdict: " + std::string(name_of(verdict_of(findings))),
            "font-weight=\"bold\"");
  for (const Finding& finding : findings) {
    if (finding.severity < Severity::kWarning) continue;
    page.y += 22;
    const std::string style = std::string("fill=\"") + stroke_of(finding.severity) + "\"";
    page.line(
        kMargin,
        std::string(name_of(finding.severity)) + "  " + finding.subject + ": " + finding.title,
        style.c_str());
  }
}

}  // namespace

std::string doctor_svg(const Survey& survey, const std::vector<Finding>& findings) {
  const TreeNode tree = machine_tree(survey, findings);
  std::vector<Row> rows;
  flatten(tree, 0, -1, rows);
  Page page;
  for (int i = 0; i < static_cast<int>(rows.size()); ++i) {
    const Row& row = rows[static_cast<std::size_t>(i)];
    draw_row(rows, i, page.body);
    page.width =
        std::max(page.width, x_of(row) + width_of(row.node->label) + width_of(row.node->link));
  }
  page.y = kMargin + static_cast<int>(rows.size()) * kRowHeight + 10;
  draw_matrix(survey, page);
  draw_findings(findings, page);
  const std::string width = std::to_string(page.width + kMargin);
  const std::string height = std::to_string(page.y + kMargin);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height +
         "\" viewBox=\"0 0 " + width + " " + height +
         "\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" "
         "font-size=\"13\">\n<title>The machine as tandem doctor sees it</title>\n<rect "
         "width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n" +
         page.body + "</svg>\n";
}

}  // namespace tandem
