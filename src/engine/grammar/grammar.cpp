#include "engine/grammar/grammar.h"

#include <algorithm>

#include "engine/grammar/utf8_ranges.h"

namespace tandem {

std::int32_t GrammarBuilder::declare(std::string name) {
  names_.push_back(std::move(name));
  grammar_.rules_.emplace_back();
  return static_cast<std::int32_t>(grammar_.rules_.size() - 1);
}

std::int32_t GrammarBuilder::declare_anonymous() {
  return declare("");
}

Status GrammarBuilder::check_size(std::size_t more) const {
  const std::size_t size = grammar_.elements_.size() + grammar_.rules_.size();
  if (size + more > max_elements_) {
    return invalid_argument("the grammar is too large",
                            "at most " + std::to_string(max_elements_) + " elements");
  }
  return {};
}

Status GrammarBuilder::add_alternative(std::int32_t rule, const Elements& elements) {
  TANDEM_TRY_STATUS(check_size(elements.size() + 1));
  auto& all = grammar_.elements_;
  grammar_.rules_[static_cast<std::size_t>(rule)].push_back(static_cast<std::int32_t>(all.size()));
  all.insert(all.end(), elements.begin(), elements.end());
  all.emplace_back();  // kEnd
  return {};
}

Status GrammarBuilder::define(std::int32_t rule, const GrammarExpr& expr) {
  const bool is_choice = expr.kind == GrammarExpr::Kind::kChoice;
  const std::size_t num_choices = is_choice ? expr.parts.size() : 1;
  for (std::size_t i = 0; i < num_choices; ++i) {
    Elements elements;
    TANDEM_TRY_STATUS(append(is_choice ? expr.parts[i] : expr, elements));
    TANDEM_TRY_STATUS(add_alternative(rule, elements));
  }
  return {};
}

Status GrammarBuilder::append(const GrammarExpr& expr, Elements& out) {
  TANDEM_TRY_STATUS(check_size(out.size()));
  switch (expr.kind) {
    case GrammarExpr::Kind::kText:
      for (const char c : expr.text) {
        const auto byte = static_cast<std::uint8_t>(c);
        out.push_back({Grammar::Element::Kind::kBytes, byte, byte, 0});
      }
      return {};
    case GrammarExpr::Kind::kClass:
      return append_class(expr.ranges, out);
    case GrammarExpr::Kind::kRule:
      out.push_back({Grammar::Element::Kind::kRule, 0, 0, expr.rule});
      return {};
    case GrammarExpr::Kind::kSequence:
      for (const GrammarExpr& part : expr.parts) TANDEM_TRY_STATUS(append(part, out));
      return {};
    case GrammarExpr::Kind::kChoice: {
      const std::int32_t rule = declare_anonymous();
      TANDEM_TRY_STATUS(define(rule, expr));
      out.push_back({Grammar::Element::Kind::kRule, 0, 0, rule});
      return {};
    }
    case GrammarExpr::Kind::kRepeat:
      return append_repeat(expr, out);
  }
  return {};
}

Status GrammarBuilder::append_class(const CodePointRanges& ranges, Elements& out) {
  std::vector<ByteRanges> alternatives;
  for (const auto& [first, last] : ranges) {
    for (ByteRanges& run : utf8_ranges(first, last)) alternatives.push_back(std::move(run));
  }
  const auto elements_of = [](const ByteRanges& run) {
    Elements elements;
    for (const auto& [first, last] : run) {
      elements.push_back({Grammar::Element::Kind::kBytes, first, last, 0});
    }
    return elements;
  };
  if (alternatives.size() == 1) {
    const Elements only = elements_of(alternatives.front());
    out.insert(out.end(), only.begin(), only.end());
    return {};
  }
  const std::int32_t rule = declare_anonymous();  // without alternatives it matches nothing
  for (const ByteRanges& run : alternatives) {
    TANDEM_TRY_STATUS(add_alternative(rule, elements_of(run)));
  }
  out.push_back({Grammar::Element::Kind::kRule, 0, 0, rule});
  return {};
}

// x{2,4} is x x (x (x)?)?, x{2,} is x x R with R ::= x R | nothing.
Status GrammarBuilder::append_repeat(const GrammarExpr& expr, Elements& out) {
  TANDEM_TRY_STATUS(check_size(static_cast<std::size_t>(expr.min_count)));
  Elements part;
  TANDEM_TRY_STATUS(append(expr.parts.front(), part));
  if (part.size() > 1) {  // named, so that a copy costs one element
    const std::int32_t rule = declare_anonymous();
    TANDEM_TRY_STATUS(add_alternative(rule, part));
    part = {{Grammar::Element::Kind::kRule, 0, 0, rule}};
  }
  if (part.empty()) return {};
  for (std::int32_t i = 0; i < expr.min_count; ++i) out.push_back(part.front());
  if (expr.max_count == GrammarExpr::kUnbounded) {
    const std::int32_t rule = declare_anonymous();
    TANDEM_TRY_STATUS(
        add_alternative(rule, {part.front(), {Grammar::Element::Kind::kRule, 0, 0, rule}}));
    TANDEM_TRY_STATUS(add_alternative(rule, {}));
    out.push_back({Grammar::Element::Kind::kRule, 0, 0, rule});
    return {};
  }
  const std::int32_t optional_count = std::max(0, expr.max_count - expr.min_count);
  TANDEM_TRY_STATUS(check_size(static_cast<std::size_t>(optional_count) * 4));
  std::int32_t rest = -1;
  for (std::int32_t i = 0; i < optional_count; ++i) {
    Elements once = part;
    if (rest >= 0) once.push_back({Grammar::Element::Kind::kRule, 0, 0, rest});
    rest = declare_anonymous();
    TANDEM_TRY_STATUS(add_alternative(rest, once));
    TANDEM_TRY_STATUS(add_alternative(rest, {}));
  }
  if (rest >= 0) out.push_back({Grammar::Element::Kind::kRule, 0, 0, rest});
  return {};
}

std::vector<bool> GrammarBuilder::nullable_rules() const {
  // Rules that wait for another to turn out nullable, so that the work stays linear.
  const auto& rules = grammar_.rules_;
  std::vector<bool> nullable(rules.size(), false);
  struct Waiting {
    std::int32_t rule;
    std::int32_t position;
  };
  std::vector<std::vector<Waiting>> waiting(rules.size());
  std::vector<Waiting> work;
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    for (const auto start : rules[rule]) work.push_back({static_cast<std::int32_t>(rule), start});
  }
  while (!work.empty()) {
    const Waiting at = work.back();
    work.pop_back();
    const auto& element = grammar_.element(at.position);
    if (element.kind == Grammar::Element::Kind::kRule) {
      if (nullable[static_cast<std::size_t>(element.rule)]) {
        work.push_back({at.rule, at.position + 1});
      } else {
        waiting[static_cast<std::size_t>(element.rule)].push_back({at.rule, at.position + 1});
      }
    } else if (element.kind == Grammar::Element::Kind::kEnd &&
               !nullable[static_cast<std::size_t>(at.rule)]) {
      nullable[static_cast<std::size_t>(at.rule)] = true;
      auto& woken = waiting[static_cast<std::size_t>(at.rule)];
      work.insert(work.end(), woken.begin(), woken.end());
      woken.clear();
    }
  }
  return nullable;
}

// Follows what a rule may begin with, without recursion: chains of rules may be long. A rule's own
// repetition (R ::= x R, where x may be empty) is harmless: the matcher calls the last element of
// an alternative without leaving a trace.
Status GrammarBuilder::check_left_recursion() const {
  const auto nullable = nullable_rules();
  const auto& rules = grammar_.rules_;
  enum class Mark : std::uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(rules.size(), Mark::kNew);
  const auto first_rules = [&](std::int32_t rule) {
    std::vector<std::int32_t> firsts;
    for (const auto start : rules[static_cast<std::size_t>(rule)]) {
      auto position = start;
      while (grammar_.element(position).kind == Grammar::Element::Kind::kRule) {
        const std::int32_t called = grammar_.element(position).rule;
        const bool is_last = grammar_.element(position + 1).kind == Grammar::Element::Kind::kEnd;
        const bool own_repetition = called == rule && is_last && position != start;
        if (!own_repetition) firsts.push_back(called);
        if (!nullable[static_cast<std::size_t>(called)]) break;
        ++position;
      }
    }
    return firsts;
  };
  struct Frame {
    std::int32_t rule;
    std::vector<std::int32_t> firsts;
    std::size_t next = 0;
  };
  for (std::size_t start = 0; start < rules.size(); ++start) {
    if (marks[start] != Mark::kNew) continue;
    std::vector<Frame> path;
    const auto open = [&](std::int32_t rule) {
      marks[static_cast<std::size_t>(rule)] = Mark::kOpen;
      path.push_back({rule, first_rules(rule)});
    };
    open(static_cast<std::int32_t>(start));
    while (!path.empty()) {
      Frame& frame = path.back();
      if (frame.next == frame.firsts.size()) {
        marks[static_cast<std::size_t>(frame.rule)] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const std::int32_t called = frame.firsts[frame.next++];
      const Mark mark = marks[static_cast<std::size_t>(called)];
      if (mark == Mark::kNew) open(called);
      if (mark != Mark::kOpen) continue;
      std::string name;
      for (auto at = path.rbegin(); at != path.rend() && name.empty(); ++at) {
        name = names_[static_cast<std::size_t>(at->rule)];
      }
      return invalid_argument("rule '" + name + "' refers to itself before it reads anything");
    }
  }
  return {};
}

Result<Grammar> GrammarBuilder::build(std::int32_t root) && {
  for (std::size_t rule = 0; rule < names_.size(); ++rule) {
    if (grammar_.rules_[rule].empty() && !names_[rule].empty()) {
      return invalid_argument("rule '" + names_[rule] + "' is not defined");
    }
  }
  TANDEM_TRY_STATUS(check_left_recursion());
  grammar_.root_ = root;
  return std::move(grammar_);
}

}  // namespace tandem
