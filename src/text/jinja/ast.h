#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/value.h"

// The parsed template. Immutable once parsed; nesting is bounded by the parser, so that walking
// and destroying it may recurse.
namespace tandem::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *args
  ExprPtr double_star;  // **kwargs
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct SequenceLiteral {
  SequenceKind kind;  // list or tuple
  std::vector<ExprPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
enum class UnaryOp { kNot, kNegate, kPlus };
struct Unary {
  UnaryOp op;
  ExprPtr operand;
};
enum class BinaryOp {
  kAnd,
  kOr,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
struct Binary {
  BinaryOp op;
  ExprPtr left;
  ExprPtr right;
};
struct Concat {  // a ~ b ~ c
  std::vector<ExprPtr> parts;
};
enum class CompareOp { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
struct Compare {  // a < b < c
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct Conditional {
  ExprPtr condition;
  ExprPtr if_true;
  ExprPtr if_false;  // null: undefined
};
struct Attribute {  // value.name
  ExprPtr value;
  std::string name;
};
struct Item {  // value[key]
  ExprPtr value;
  ExprPtr key;
};
struct Slice {  // value[start:stop:step], each may be null
  ExprPtr value;
  ExprPtr start;
  ExprPtr stop;
  ExprPtr step;
};
struct Call {
  ExprPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExprPtr value;  // null in a filter block: the block's text
  std::string name;
  CallArguments arguments;
};
struct TestExpr {
  ExprPtr value;
  std::string name;
  CallArguments arguments;
  bool negated = false;
};

struct Expr {
  int line = 1;
  int depth = 1;  // levels below and with this one
  std::variant<Constant, Name, SequenceLiteral, DictLiteral, Unary, Binary, Concat, Compare,
               Conditional, Attribute, Item, Slice, Call, Filter, TestExpr>
      form;
};

// What a `for` or `set` assigns to.
struct Target {
  std::string name;           // empty for a tuple
  std::string attribute;      // not empty: name.attribute of a namespace
  std::vector<Target> parts;  // of a tuple
};

struct Stmt;
using Block = std::vector<Stmt>;

struct Text {
  std::string text;
};
struct Output {
  ExprPtr value;
};
struct For {
  Target target;
  ExprPtr sequence;
  ExprPtr condition;  // may be null
  bool recursive = false;
  Block body;
  Block otherwise;
};
struct If {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};
struct Set {
  Target target;
  ExprPtr value;
};
struct SetBlock {
  Target target;
  ExprPtr filters;  // may be null
  Block body;
};
struct MacroDefinition {
  std::string name;  // "caller" for the body of a call block
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
  Block body;
};
struct CallBlock {
  ExprPtr call;
  std::unique_ptr<MacroDefinition> caller;
};
struct FilterBlock {
  ExprPtr filters;
  Block body;
};
struct With {
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Block body;
};
struct Group {  // {% generation %}: transformers' mark of the assistant's text, no effect here
  Block body;
};
struct LoopControl {
  bool is_break = false;
};

struct Stmt {
  int line = 1;
  std::variant<Text, Output, For, If, Set, SetBlock, std::unique_ptr<MacroDefinition>, CallBlock,
               FilterBlock, With, Group, LoopControl>
      form;
};

}  // namespace tandem::jinja
