#include <algorithm>

#include "machine/findings/findings.h"
#include "machine/report/doctor_report.h"
#include "machine/report/machine_tree.h"
#include "machine/text_scan.h"

namespace tandem {
namespace {

class Painter {
 public:
  explicit Painter(const ReportStyle& style) : style_(style) {}

  std::string paint(const char* code, const std::string& text) const {
    return style_.colour ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
  }
  std::size_t columns() const { return static_cast<std::size_t>(style_.columns); }
  std::string bold(const std::string& text) const { return paint("1", text); }
  std::string dim(const std::string& text) const { return paint("2", text); }
  std::string severity(Severity severity, const std::string& text) const {
    switch (severity) {
      case Severity::kError:
        return paint("1;31", text);
      case Severity::kWarning:
        return paint("1;33", text);
      case Severity::kOk:
        return paint("32", text);
      case Severity::kInfo:
        break;
    }
    return paint("36", text);
  }

  // Breaks at blanks; every line after the first is indented.
  std::string wrapped(const std::string& text, const std::string& indent,
                      std::size_t first_column = 0) const {
    std::string result;
    std::size_t column = std::max(indent.size(), first_column);
    for (std::string_view word : split_words(text)) {
      if (!result.empty() && column + 1 + word.size() > static_cast<std::size_t>(style_.columns)) {
        result += "\n" + indent;
        column = indent.size();
      } else if (!result.empty()) {
        result += ' ';
        ++column;
      }
      result += word;
      column += word.size();
    }
    return result;
  }

 private:
  ReportStyle style_;
};

std::string mark(Severity severity) {
  return severity == Severity::kError     ? "  << error"
         : severity == Severity::kWarning ? "  << warning"
                                          : "";
}

void draw(const TreeNode& node, const std::string& prefix, const Painter& painter,
          std::string& out) {
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const TreeNode& child = node.children[i];
    const bool last = i + 1 == node.children.size();
    std::string line = child.label;
    if (child.kind == TreeNode::Kind::kGpu) line = painter.bold(line);
    if (!child.link.empty()) line += "  " + child.link;
    out += prefix + (last ? "`- " : "|- ") + line +
           painter.severity(child.severity, mark(child.severity)) + "\n";
    draw(child, prefix + (last ? "   " : "|  "), painter, out);
  }
}

void write_matrix(const Survey& survey, const Painter& painter, std::string& out) {
  if (num_gpus(survey) > 16) return;  // too wide to read
  const auto rows = pair_matrix(survey);
  const auto lines = transport_lines(survey);
  if (rows.empty() && lines.empty()) return;
  std::size_t width = 0;
  for (const auto& row : rows)
    for (const auto& cell : row) width = std::max(width, cell.size());
  out += "\n" + painter.bold("Between the GPUs") + "\n";
  for (const auto& row : rows) {
    std::string line = "  ";
    for (const auto& cell : row) line += cell + std::string(width + 2 - cell.size(), ' ');
    out += std::string(line.substr(0, line.find_last_not_of(' ') + 1)) + "\n";
  }
  if (!rows.empty()) out += painter.dim("  " + painter.wrapped(pair_legend(), "  ")) + "\n";
  for (const std::string& line : lines) out += "  " + painter.wrapped(line, "    ") + "\n";
}

std::string heading(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "ERROR";
    case Severity::kWarning:
      return "WARNING";
    case Severity::kInfo:
      return "info";
    case Severity::kOk:
      return "ok";
  }
  return "info";
}

void write_finding(const Finding& finding, const Painter& painter, std::string& out) {
  const std::string word = heading(finding.severity);
  const std::string title =
      painter.wrapped(finding.subject + ": " + finding.title, "    ", word.size() + 2);
  const std::string tag =
      "[" + finding.id + (finding.confidence == "certain" ? "" : ", " + finding.confidence) + "]";
  const std::size_t newline = title.rfind('\n');
  const std::size_t column =
      newline == std::string::npos ? word.size() + 2 + title.size() : title.size() - newline - 1;
  const bool fits = column + 2 + tag.size() <= painter.columns();
  out += painter.severity(finding.severity, word) + "  " + title + (fits ? "  " : "\n    ") +
         painter.dim(tag) + "\n";
  for (const std::string& line : finding.evidence)
    out += "    - " + painter.wrapped(line, "      ") + "\n";
  if (!finding.advice.empty()) out += "    > " + painter.wrapped(finding.advice, "      ") + "\n";
}

std::string plural(std::size_t count, const char* word) {
  return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
}

void write_verdict(const std::vector<Finding>& findings, const Painter& painter, std::string& out) {
  const auto count = [&](Severity severity) {
    return static_cast<std::size_t>(
        std::count_if(findings.begin(), findings.end(),
                      [&](const Finding& f) { return f.severity == severity; }));
  };
  const Severity verdict = verdict_of(findings);
  out += "\n" + painter.bold("Verdict: ") +
         painter.severity(verdict, std::string(name_of(verdict))) + ", " +
         plural(count(Severity::kError), "error") + ", " +
         plural(count(Severity::kWarning), "warning") + "\n";
  if (verdict != Severity::kOk)
    out += "What to do first: " +
           painter.wrapped(findings.front().subject + ": " + findings.front().advice, "  ", 18) +
           "\n";
}

// "capture.txt (nvidia-smi -q)" is a section of capture.txt.
std::string file_of(const SourceNote& source) {
  const std::size_t section =
      source.name.ends_with(')') ? source.name.find(" (") : std::string::npos;
  return source.name.substr(0, section);
}

// One line a file, with every kind of recording that its sections are; what failed by itself.
std::vector<SourceNote> files_read(const Survey& survey) {
  std::vector<SourceNote> files;
  for (const SourceNote& source : survey.sources) {
    const std::string name = file_of(source);
    const auto known = std::find_if(files.begin(), files.end(), [&](const SourceNote& file) {
      return file.name == name && file.note.empty() && !file.kind.empty();
    });
    if (source.kind.empty() || !source.note.empty())
      files.push_back(source);
    else if (known == files.end())
      files.push_back({name, source.kind, ""});
    else if (!contains(", " + known->kind + ",", ", " + source.kind + ","))
      known->kind += ", " + source.kind;
  }
  return files;
}

void write_sources(const Survey& survey, const Painter& painter, std::string& out) {
  if (survey.sources.empty()) return;
  constexpr std::size_t kMaxUnknown = 3;
  out += "\n" + painter.bold("Read") + "\n";
  std::size_t unknown = 0;
  for (const SourceNote& source : files_read(survey)) {
    if (source.kind.empty() && ++unknown > kMaxUnknown) continue;
    out += "  " + source.name + (source.kind.empty() ? "" : "  (" + source.kind + ")") +
           (source.note.empty() ? "" : ": " + source.note) + "\n";
  }
  if (unknown > kMaxUnknown)
    out += "  and " + plural(unknown - kMaxUnknown, "more file") + " not read\n";
}

}  // namespace

std::string doctor_text(const Survey& survey, const std::vector<Finding>& findings,
                        const ReportStyle& style) {
  const Painter painter(style);
  const TreeNode tree = machine_tree(survey, findings);
  std::string out =
      painter.bold(tree.label) + painter.severity(tree.severity, mark(tree.severity)) + "\n";
  draw(tree, "", painter, out);
  if (survey.host.driver_version)
    out += "NVIDIA driver " + *survey.host.driver_version +
           (survey.host.cuda_version ? ", CUDA " + *survey.host.cuda_version + " at most" : "") +
           "\n";
  write_matrix(survey, painter, out);
  write_sources(survey, painter, out);
  out += "\n" + painter.bold("Findings") + "\n";
  for (const Finding& finding : findings) write_finding(finding, painter, out);
  write_verdict(findings, painter, out);
  return out;
}

}  // namespace tandem
