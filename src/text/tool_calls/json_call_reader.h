#pragma once

#include <string>
#include <string_view>

namespace tandem {

// Reads one call, a JSON object such as {"name": "f", "arguments": {...}}, as it comes. Known names
// of its members: name, tool_name; arguments, parameters; and all of them one level down, in
// "function". Other members are skipped. The arguments are passed on as written, not checked.
class JsonCallReader {
 public:
  enum class State { kReading, kDone, kFailed };  // kFailed: this is no call

  // Reads up to the object's end and returns how many bytes that were.
  std::size_t read(std::string_view text);

  State state() const { return state_; }
  // Empty until known.
  const std::string& name() const { return name_; }
  // The arguments that have come since the last time. Those that came as a string holding JSON are
  // unpacked, and null is an empty object.
  std::string take_arguments();
  bool had_arguments() const { return had_arguments_; }
  // The arguments are there to their end.
  bool arguments_ended() const { return had_arguments_ && !in_arguments_ && !in_string_; }

 private:
  enum class Expect { kObject, kKeyOrEnd, kKey, kColon, kValue, kCommaOrEnd };

  void take(char c);
  void take_in_string(char c);
  void take_in_arguments(char c);
  void take_outside(char c);
  void start_value(char c);
  void end_string();
  void close_object();
  bool at_call_level() const { return level_ == call_level_; }

  State state_ = State::kReading;
  Expect expect_ = Expect::kObject;
  int level_ = 0;
  int call_level_ = 1;  // 2 inside of "function"
  bool in_string_ = false;
  bool is_escaped_ = false;
  bool string_is_key_ = false;
  bool in_arguments_ = false;  // an object or list that is being passed on
  int arguments_level_ = 0;
  bool in_scalar_ = false;
  std::string string_;  // the one being read at the call's level, with its escapes
  std::string scalar_;
  std::string key_;
  std::string name_;
  std::string arguments_;
  bool had_arguments_ = false;
};

// The text that a JSON string's contents (without its quotes) stand for; as it is where invalid.
std::string unescaped_json(std::string_view contents);

}  // namespace tandem
