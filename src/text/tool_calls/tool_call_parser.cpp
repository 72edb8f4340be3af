#include "text/tool_calls/tool_call_parser.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/tool_calls/python_call.h"

namespace tandem {
namespace {

using Action = ToolMarker::Action;

constexpr std::size_t kMaxNameBytes = 512;  // of a header that holds a name
constexpr std::string_view kSeparator = "<｜tool▁sep｜>";

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// How many bytes at the end of `text` may be the beginning of `marker`.
std::size_t partial_at_end(std::string_view text, std::string_view marker) {
  for (std::size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.ends_with(marker.substr(0, length))) return length;
  }
  return 0;
}

// Command R's way of saying that it calls nothing.
bool is_no_call(std::string_view name) {
  return name == "directly-answer" || name == "directly_answer";
}

}  // namespace

ToolCallParser::ToolCallParser(ToolCallParserOptions options)
    : options_(std::move(options)), random_(options_.id_seed) {
  in_reasoning_ = options_.separate_reasoning && options_.starts_in_reasoning;
  drops_space_ = in_reasoning_;
  if (options_.format == ToolCallFormat::kFunctionaryV32) {
    // The prompt ends with the marker: a name comes first.
    marker_ = markers_of(options_.format).front();
    mode_ = Mode::kName;
  }
}

ChatDelta ToolCallParser::push(std::string_view text) {
  pending_ += text;
  ChatDelta delta;
  while (step(delta)) {
  }
  return delta;
}

ChatDelta ToolCallParser::finish() {
  is_over_ = true;
  ChatDelta delta = push("");
  if (in_call_) end_call(delta);
  if (num_calls_ == 0 && !in_reasoning_ && !drops_space_) {
    delta.content += held_space_;
    held_space_.clear();
  }
  return delta;
}

bool ToolCallParser::step(ChatDelta& delta) {
  switch (mode_) {
    case Mode::kSaying:
      return step_saying(delta);
    case Mode::kObject:
      return step_object(delta);
    case Mode::kList:
      return step_list(delta);
    case Mode::kName:
      return step_name(delta);
    case Mode::kArguments:
      return step_arguments(delta);
    case Mode::kPython:
      return step_python(delta);
  }
  return false;
}

bool ToolCallParser::looks_for(const ToolMarker& marker) const {
  switch (marker.action) {
    case Action::kIgnore:
      return true;
    case Action::kBeginReasoning:
      return options_.separate_reasoning && !in_reasoning_;
    case Action::kEndReasoning:
      return options_.separate_reasoning && in_reasoning_;
    default:
      break;
  }
  const bool names_all = options_.format == ToolCallFormat::kFunctionaryV32;
  return !in_reasoning_ && (!options_.tool_names.empty() || names_all);
}

bool ToolCallParser::step_saying(ChatDelta& delta) {
  if (after_call_) {
    const std::size_t end = pending_.find_first_not_of(" \n\r\t;`");
    pending_.erase(0, end);
    after_call_ = pending_.empty();
  }
  if (pending_.empty()) return false;
  if (options_.format == ToolCallFormat::kLlama3 && !options_.tool_names.empty() &&
      !in_reasoning_ && !said_anything_) {
    const auto first = std::find_if_not(pending_.begin(), pending_.end(), is_blank);
    if (first == pending_.end() && !is_over_) return false;
    if (first != pending_.end() && *first == '{') {
      taken_.clear();
      start_object();
      return true;
    }
  }
  const ToolMarker* found = nullptr;
  std::size_t found_at = std::string::npos;
  std::size_t partial = 0;
  for (const ToolMarker& marker : markers_of(options_.format)) {
    if (!looks_for(marker)) continue;
    const std::size_t at = pending_.find(marker.text);
    if (at < found_at) {
      found = &marker;
      found_at = at;
    }
    if (!is_over_) partial = std::max(partial, partial_at_end(pending_, marker.text));
  }
  const std::size_t end = found ? found_at : pending_.size() - partial;
  say(delta, std::string_view(pending_).substr(0, end));
  pending_.erase(0, end + (found ? found->text.size() : 0));
  if (found) enter(*found);
  return found != nullptr;
}

void ToolCallParser::enter(const ToolMarker& marker) {
  if (marker.action == Action::kIgnore) {
    drops_space_ = drops_space_ || !said_anything_;
    return;
  }
  const std::string space = std::exchange(held_space_, {});
  if (marker.action == Action::kBeginReasoning || marker.action == Action::kEndReasoning) {
    in_reasoning_ = marker.action == Action::kBeginReasoning;
    drops_space_ = true;
    return;
  }
  marker_ = marker;
  taken_ = space + std::string(marker.text);
  in_list_ = false;
  switch (marker.action) {
    case Action::kObject:
      start_object();
      break;
    case Action::kList:
      mode_ = Mode::kList;
      break;
    case Action::kNamed:
      mode_ = Mode::kName;
      break;
    default:
      mode_ = Mode::kPython;
      break;
  }
}

void ToolCallParser::start_object() {
  reader_ = JsonCallReader();
  is_silent_ = false;
  mode_ = Mode::kObject;
}

void ToolCallParser::take(std::size_t count) {
  if (!in_call_) taken_.append(pending_, 0, count);
  pending_.erase(0, count);
}

void ToolCallParser::skip_blanks() {
  const std::size_t blanks = std::min(pending_.find_first_not_of(" \n\r\t"), pending_.size());
  take(blanks);
}

// White space is held until more is said: before a call it belongs to nothing.
void ToolCallParser::say(ChatDelta& delta, std::string_view text) {
  std::string& out = in_reasoning_ ? delta.reasoning : delta.content;
  if (drops_space_) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  }
  const std::string_view solid = trimmed(text);
  if (solid.empty()) {
    held_space_ += text;
    return;
  }
  const auto end = static_cast<std::size_t>(solid.data() + solid.size() - text.data());
  out += held_space_;
  out += text.substr(0, end);
  held_space_ = text.substr(end);
  drops_space_ = false;
  said_anything_ = said_anything_ || !in_reasoning_;
}

bool ToolCallParser::take_back(ChatDelta& delta) {
  mode_ = Mode::kSaying;
  in_list_ = false;
  say(delta, std::exchange(taken_, {}));
  said_anything_ = true;
  return true;
}

bool ToolCallParser::is_tool(std::string_view name) const {
  const auto& names = options_.tool_names;
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string ToolCallParser::new_id() {
  static constexpr std::string_view kAlphabet =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  // Mistral's template refuses ids that are not of 9 letters and digits.
  const bool is_short = options_.format == ToolCallFormat::kMistral;
  std::string id = is_short ? "" : "call_";
  for (int i = 0; i < (is_short ? 9 : 24); ++i) id += kAlphabet[random_() % kAlphabet.size()];
  return id;
}

void ToolCallParser::begin_call(ChatDelta& delta, std::string name) {
  in_call_ = true;
  call_has_arguments_ = false;
  taken_.clear();
  held_space_.clear();
  delta.calls.push_back({.index = num_calls_++, .id = new_id(), .name = std::move(name)});
}

void ToolCallParser::add_arguments(ChatDelta& delta, std::string_view arguments) {
  if (arguments.empty()) return;
  call_has_arguments_ = true;
  const std::int32_t index = num_calls_ - 1;
  if (delta.calls.empty() || delta.calls.back().index != index) {
    delta.calls.push_back({.index = index});
  }
  delta.calls.back().arguments += arguments;
}

void ToolCallParser::end_call(ChatDelta& delta) {
  if (!call_has_arguments_) add_arguments(delta, "{}");
  in_call_ = false;
  after_call_ = true;
  taken_.clear();
  mode_ = in_list_ ? Mode::kList : Mode::kSaying;
}

bool ToolCallParser::step_object(ChatDelta& delta) {
  take(reader_.read(pending_));
  if (!in_call_ && !is_silent_ && !reader_.name().empty()) {
    is_silent_ = is_no_call(reader_.name()) && !is_tool(reader_.name());
    if (!is_silent_ && !is_tool(reader_.name())) return take_back(delta);
    if (!is_silent_) begin_call(delta, reader_.name());
  }
  if (in_call_) add_arguments(delta, reader_.take_arguments());
  if (reader_.state() == JsonCallReader::State::kReading) {
    const bool is_cut = is_over_ && !in_call_ && !is_silent_;
    return is_cut && take_back(delta);
  }
  if (!in_call_ && !is_silent_) return take_back(delta);
  if (in_call_) {
    end_call(delta);
  } else {
    taken_.clear();
    after_call_ = true;
    mode_ = in_list_ ? Mode::kList : Mode::kSaying;
  }
  return true;
}

bool ToolCallParser::step_list(ChatDelta& delta) {
  skip_blanks();
  if (pending_.empty()) return is_over_ && !in_list_ && take_back(delta);
  const char c = pending_.front();
  if (c == '{') {
    start_object();
    return true;
  }
  if (!in_list_) {
    if (c != '[') return take_back(delta);
    in_list_ = true;
    take(1);
    return true;
  }
  const bool goes_on = c == ',';
  if (goes_on || c == ']') take(1);
  if (goes_on) return true;
  in_list_ = false;
  after_call_ = true;
  if (c != ']') return take_back(delta);
  taken_.clear();
  mode_ = Mode::kSaying;
  return true;
}

bool ToolCallParser::step_name(ChatDelta& delta) {
  const std::size_t first = pending_.find_first_not_of(" \n\r\t");
  const bool is_mistral = options_.format == ToolCallFormat::kMistral;
  if (is_mistral && first != std::string::npos && pending_[first] == '[') {
    mode_ = Mode::kList;
    return true;
  }
  std::size_t end = pending_.find(marker_.name_end);
  std::size_t end_bytes = marker_.name_end.size();
  // Some versions of Mistral's leave the [ARGS] out.
  if (const std::size_t brace = pending_.find('{'); is_mistral && brace < end) {
    end = brace;
    end_bytes = 0;
  }
  if (end == std::string::npos) {
    if (!is_over_ && pending_.size() < kMaxNameBytes) return false;
    take(pending_.size());
    return take_back(delta);
  }
  std::string_view header = std::string_view(pending_).substr(0, end);
  if (const std::size_t at = header.find(kSeparator); at != std::string_view::npos) {
    header.remove_prefix(at + kSeparator.size());
  }
  std::string name(trimmed(header));
  take(end + end_bytes);
  if (options_.format == ToolCallFormat::kFunctionaryV32 && name == "all") {
    taken_.clear();
    mode_ = Mode::kSaying;
    return true;
  }
  if (!is_tool(name)) return take_back(delta);
  begin_call(delta, std::move(name));
  reader_ = JsonCallReader();
  reader_.read(R"({"name":"f","arguments":)");
  code_.clear();
  mode_ = Mode::kArguments;
  return true;
}

bool ToolCallParser::step_arguments(ChatDelta& delta) {
  if (code_.empty() && !call_has_arguments_) skip_blanks();
  if (pending_.empty()) {
    if (is_over_ && !code_.empty()) call_code(delta);
    return false;
  }
  if (code_.empty() && (call_has_arguments_ || pending_.front() == '{')) {
    while (!pending_.empty() && !reader_.arguments_ended()) {
      take(reader_.read(std::string_view(pending_).substr(0, 1)));
    }
    add_arguments(delta, reader_.take_arguments());
    if (!reader_.arguments_ended()) return false;
    end_call(delta);
    return true;
  }
  // No JSON: code, up to the mark that ends it.
  const std::size_t end = pending_.find(marker_.arguments_end);
  if (end == std::string::npos && !is_over_) {
    const std::size_t sure = pending_.size() - partial_at_end(pending_, marker_.arguments_end);
    code_.append(pending_, 0, sure);
    take(sure);
    return false;
  }
  code_.append(pending_, 0, end);
  take(std::min(end, pending_.size()));
  return call_code(delta);
}

// What was given to a tool instead of JSON becomes its argument `code`.
bool ToolCallParser::call_code(ChatDelta& delta) {
  const auto replace = nlohmann::json::error_handler_t::replace;
  const nlohmann::json arguments = {{"code", std::string(trimmed(code_))}};
  if (!code_.empty()) add_arguments(delta, arguments.dump(-1, ' ', false, replace));
  code_.clear();
  end_call(delta);
  return true;
}

bool ToolCallParser::step_python(ChatDelta& delta) {
  const std::size_t first = pending_.find_first_not_of(" \n\r\t");
  if (first != std::string::npos && pending_[first] == '{') {
    start_object();
    return true;
  }
  const std::size_t end = std::min(pending_.find("<|eom_id|>"), pending_.find("<|eot_id|>"));
  if (end == std::string::npos && !is_over_) return false;
  const std::string code(trimmed(std::string_view(pending_).substr(0, end)));
  if (const auto call = parse_python_call(code); call && is_tool(call->tool)) {
    take(std::min(end, pending_.size()));
    begin_call(delta, call->tool);
    add_arguments(delta, call->arguments);
    end_call(delta);
    return true;
  }
  for (const auto* tool : {"python", "ipython", "code_interpreter"}) {
    if (!is_tool(tool) || code.empty()) continue;
    take(std::min(end, pending_.size()));
    begin_call(delta, tool);
    code_ = code;
    return call_code(delta);
  }
  take(std::min(end, pending_.size()));
  return take_back(delta);
}

}  // namespace tandem
