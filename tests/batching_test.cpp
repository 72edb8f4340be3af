// What a sequence computes does not depend on what stands beside it: batches of prefill chunks and
// decodes, over shuffled blocks, and steps in flight at once give the bits of each sequence alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "support/cpu_runtime.h"

namespace tandem::test {
namespace {

using Logits = std::vector<float>;

// A sequence fed in chunks, one a round; the last token's logits of each chunk are kept.
struct Script {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> chunks;
  std::vector<std::int32_t> blocks;
};

// Four sequences in shuffled blocks: a prompt in chunks, decodes after a short prompt, a sequence
// that joins late (chunk 0: no part in the round), one that ends early.
std::vector<Script> scripts_for(const Plan& plan, std::int64_t vocabulary_size) {
  std::mt19937 random(7);
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(plan.kv.num_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), random);
  const std::vector<std::vector<std::int32_t>> rounds = {
      {20, 17, 23, 1, 1}, {5, 1, 1, 1, 1}, {0, 0, 30, 9, 1}, {33, 1, 0, 0, 0}};
  std::vector<Script> scripts;
  auto next_block = blocks.begin();
  for (const auto& chunks : rounds) {
    Script script;
    script.chunks = chunks;
    const int total = std::accumulate(chunks.begin(), chunks.end(), 0);
    for (int i = 0; i < total; ++i) {
      script.tokens.push_back(
          static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocabulary_size)));
    }
    const int num_blocks = (total + plan.kv.block_tokens - 1) / plan.kv.block_tokens;
    script.blocks.assign(next_block, next_block + num_blocks);
    next_block += num_blocks;
    scripts.push_back(std::move(script));
  }
  return scripts;
}

// Runs the rounds with all given sequences in each batch; the logits of each, in order.
std::vector<Logits> play(ModelRunner& runner, const std::vector<Script>& scripts) {
  std::vector<Logits> results(scripts.size());
  std::vector<std::int32_t> done(scripts.size(), 0);
  for (std::size_t round = 0; round < scripts.front().chunks.size(); ++round) {
    auto batch = std::make_shared<StepBatch>();
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < scripts.size(); ++i) {
      const std::int32_t count = scripts[i].chunks[round];
      if (count == 0) continue;
      const auto begin = scripts[i].tokens.begin() + done[i];
      done[i] += count;
      append_sequence(*batch, {begin, begin + count}, done[i], scripts[i].blocks,
                      runner.plan().kv.block_tokens, true);
      rows.push_back(i);
    }
    if (rows.empty()) continue;
    const auto step = runner.step(batch);
    EXPECT_TRUE(step.ok()) << step.error().to_string();
    if (!step.ok()) return results;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      const auto logits = step->row(row);
      Logits& into = results[rows[row]];
      into.insert(into.end(), logits.begin(), logits.end());
    }
  }
  return results;
}

struct Case {
  std::string model;
  SplitChoice split;
  Arithmetic arithmetic = Arithmetic::kInt8;
};

std::string name_of_case(const testing::TestParamInfo<Case>& param) {
  std::string name = param.param.model + "_" + param.param.split.name;
  if (param.param.arithmetic == Arithmetic::kFloat) name += "_float";
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<Case> cases() {
  const std::vector<SplitChoice> splits = {
      {"one", {{1}}}, {"tensor2", {{1, 1}}}, {"tensor3", {{2, 1, 1}}}, {"pipeline2", {{1}, {1}}}};
  std::vector<Case> all;
  for (const char* model : {"llama-mqa-q8_0", "mistral-q4_k_m", "qwen3moe-q4_0", "gemma3-f16"}) {
    for (const SplitChoice& split : splits) {
      all.push_back({model, split});
      all.push_back({model, split, Arithmetic::kFloat});
    }
  }
  return all;
}

class Batching : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Runtime> start() {
    RunChoice run;
    run.arithmetic = GetParam().arithmetic;
    run.max_batch_tokens = 128;
    return start_on_cpu(model_, GetParam().split, run).value();
  }

  const ReferenceModel model_ = load_reference(GetParam().model).value();
};

TEST_P(Batching, GivesTheBitsOfEachSequenceAlone) {
  const auto together = start();
  const auto scripts = scripts_for(together->plan(), model_.spec.vocabulary_size);
  const auto got = play(*together, scripts);
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    const auto alone = start();
    EXPECT_EQ(play(*alone, {scripts[i]}).front(), got[i]) << "sequence " << i;
  }
}

TEST_P(Batching, StepsInFlightGiveTheBitsOfOneAtATime) {
  const auto serial = start();
  const auto scripts = scripts_for(serial->plan(), model_.spec.vocabulary_size);
  std::vector<std::shared_ptr<StepBatch>> batches;
  for (const Script& script : scripts) {
    const auto total = static_cast<std::int32_t>(script.tokens.size());
    for (const std::int32_t end : {total - 2, total - 1, total}) {
      const std::int32_t begin = end == total - 2 ? 0 : end - 1;
      batches.push_back(std::make_shared<StepBatch>());
      append_sequence(*batches.back(), {script.tokens.begin() + begin, script.tokens.begin() + end},
                      end, script.blocks, serial->plan().kv.block_tokens, true);
    }
  }
  std::vector<Logits> expected;
  for (const auto& batch : batches) expected.push_back(serial->step(batch).value().logits);

  const auto overlapped = start();
  std::vector<std::int64_t> numbers;
  for (const auto& batch : batches) numbers.push_back(overlapped->submit(batch).value());
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto result = overlapped->wait(numbers[i]);
    ASSERT_TRUE(result.ok()) << result.error().to_string();
    EXPECT_EQ(result->logits, expected[i]) << "step " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Batching, testing::ValuesIn(cases()), name_of_case);

}  // namespace
}  // namespace tandem::test
