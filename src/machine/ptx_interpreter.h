#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace tandem {

// For tests: runs the few PTX instructions that doctor's kernel is written in (PTX ISA 6.0), so
// that the text which goes to the driver is itself under test. Anything else is refused.
class PtxKernel {
 public:
  // Loads and stores of float32 in global memory; false ends the launch as an illegal address.
  struct Memory {
    virtual ~Memory() = default;
    virtual bool load(std::uint64_t address, float& value) = 0;
    virtual bool store(std::uint64_t address, float value) = 0;
  };

  // nullopt where the text holds an instruction, a register or a label that is not known here.
  static std::optional<PtxKernel> parse(const std::string& text) {
    PtxKernel kernel;
    std::istringstream lines(text);
    std::string line;
    bool in_body = false;
    while (std::getline(lines, line)) {
      for (char& c : line)
        if (std::string_view(",;()\t").find(c) != std::string_view::npos) c = ' ';
      std::istringstream stream(line);
      std::vector<std::string> words;
      for (std::string word; stream >> word;) words.push_back(word);
      if (words.empty() || words[0] == ".reg") continue;
      if (words[0] == ".param") kernel.parameters_[words[2]] = kernel.parameters_.size();
      if (words[0] == ".visible") kernel.name_ = words[2];
      if (words[0] == "{") in_body = true;
      if (words[0] == "}" || !in_body || words[0] == "{") continue;
      if (words.size() == 1 && words[0].back() == ':')
        kernel.labels_[words[0].substr(0, words[0].size() - 1)] = kernel.code_.size();
      else if (!kernel.add(words))
        return std::nullopt;
    }
    for (Instruction& instruction : kernel.code_)
      if (instruction.op == Op::kBranch) {
        if (kernel.labels_.count(instruction.label) == 0) return std::nullopt;
        instruction.target = kernel.labels_[instruction.label];
      }
    return kernel;
  }

  const std::string& name() const { return name_; }

  // Every thread of a one-dimensional grid, one after the other. `parameters`: as for
  // cuLaunchKernel. False at an illegal address.
  bool launch(unsigned grid, unsigned block, void** parameters, Memory& memory) const {
    for (unsigned b = 0; b < grid; ++b)
      for (unsigned t = 0; t < block; ++t)
        if (!run({b, block, t}, parameters, memory)) return false;
    return true;
  }

 private:
  enum class Op {
    kSpecial,
    kMad,
    kParam32,
    kParam64,
    kNotBelow,
    kBranch,
    kAdd32,
    kWide,
    kAdd64,
    kLoad,
    kAddFloat,
    kStore,
    kReturn
  };
  struct Instruction {
    Op op = Op::kReturn;
    std::array<std::size_t, 4> registers{};
    std::uint64_t immediate = 0;  // or the number of a parameter or special register
    std::string label;
    std::size_t target = 0;
  };

  std::size_t register_at(std::string word) {
    if (word.front() == '[') word = word.substr(1, word.size() - 2);
    return registers_.try_emplace(word, registers_.size()).first->second;
  }

  bool add(const std::vector<std::string>& words) {
    static const std::map<std::string, Op> ops{
        {"mov.u32", Op::kSpecial},      {"mad.lo.s32", Op::kMad},
        {"ld.param.u32", Op::kParam32}, {"ld.param.u64", Op::kParam64},
        {"setp.ge.u32", Op::kNotBelow}, {"add.s32", Op::kAdd32},
        {"mul.wide.u32", Op::kWide},    {"add.s64", Op::kAdd64},
        {"ld.global.f32", Op::kLoad},   {"add.rn.f32", Op::kAddFloat},
        {"st.global.f32", Op::kStore},  {"ret", Op::kReturn}};
    static const std::map<std::string, std::uint64_t> specials{
        {"%ctaid.x", 0}, {"%ntid.x", 1}, {"%tid.x", 2}};
    Instruction instruction;
    if (words[0].front() == '@') {
      if (words.size() != 3 || words[1] != "bra") return false;
      instruction.op = Op::kBranch;
      instruction.registers[0] = register_at(words[0].substr(1));
      instruction.label = words[2];
      code_.push_back(instruction);
      return true;
    }
    const auto op = ops.find(words[0]);
    if (op == ops.end()) return false;
    instruction.op = op->second;
    for (std::size_t i = 1; i < words.size() && i <= 4; ++i) {
      const std::string bare =
          words[i].front() == '[' ? words[i].substr(1, words[i].size() - 2) : words[i];
      if (specials.count(bare) != 0)
        instruction.immediate = specials.at(bare);
      else if (parameters_.count(bare) != 0)
        instruction.immediate = parameters_.at(bare);
      else if (bare.front() == '%')
        instruction.registers[i - 1] = register_at(bare);
      else
        instruction.immediate = std::stoull(bare);
    }
    code_.push_back(instruction);
    return registers_.size() <= kMaxRegisters;
  }

  static float as_float(std::uint64_t bits) {
    const auto low = static_cast<std::uint32_t>(bits);
    float value = 0;
    std::memcpy(&value, &low, sizeof value);
    return value;
  }
  static std::uint64_t as_bits(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }

  bool run(const std::array<unsigned, 3>& special, void** parameters, Memory& memory) const {
    std::array<std::uint64_t, kMaxRegisters> r{};
    for (std::size_t at = 0; at < code_.size(); ++at) {
      const Instruction& i = code_[at];
      std::uint64_t& d = r[i.registers[0]];
      const std::uint64_t a = r[i.registers[1]];
      const std::uint64_t b = r[i.registers[2]];
      float value = 0;
      switch (i.op) {
        case Op::kSpecial:
          d = special[i.immediate];
          break;
        case Op::kMad:
          d = static_cast<std::uint32_t>(a * b + r[i.registers[3]]);
          break;
        case Op::kParam32: {
          std::uint32_t word = 0;
          std::memcpy(&word, parameters[i.immediate], sizeof word);
          d = word;
          break;
        }
        case Op::kParam64:
          std::memcpy(&d, parameters[i.immediate], sizeof d);
          break;
        case Op::kNotBelow:
          d = a >= b ? 1 : 0;
          break;
        case Op::kBranch:
          if (d != 0) at = i.target - 1;
          break;
        case Op::kAdd32:
          d = static_cast<std::uint32_t>(a + b);
          break;
        case Op::kWide:
          d = static_cast<std::uint32_t>(a) * i.immediate;
          break;
        case Op::kAdd64:
          d = a + b;
          break;
        case Op::kLoad:
          if (!memory.load(a, value)) return false;
          d = as_bits(value);
          break;
        case Op::kAddFloat:
          d = as_bits(as_float(a) + as_float(b));
          break;
        case Op::kStore:
          if (!memory.store(d, as_float(a))) return false;
          break;
        case Op::kReturn:
          return true;
      }
    }
    return true;
  }

  static constexpr std::size_t kMaxRegisters = 40;
  std::string name_;
  std::map<std::string, std::size_t> parameters_;
  std::map<std::string, std::size_t> registers_;
  std::map<std::string, std::size_t> labels_;
  std::vector<Instruction> code_;
};

}  // namespace tandem
