#include "base/trace.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace tandem {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST(TraceWriter, WritesAnArrayOfEventsFromAllThreads) {
  const std::string path = testing::TempDir() + "tandem_trace_test.json";
  {
    const auto trace = TraceWriter::create(path).value();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&trace] {
        const std::int32_t track = trace->add_track("a \"rank\"\n");
        for (int n = 0; n < 100; ++n) trace->add_span(track, "step", 1500, 4000, "\"tokens\":3");
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const std::string text = read(path);
  EXPECT_TRUE(text.starts_with("[\n{"));
  EXPECT_TRUE(text.ends_with("}\n]\n"));
  EXPECT_EQ(count(text, "\"ph\":\"X\""), 400);
  EXPECT_EQ(count(text, "\"ts\":1.500,\"dur\":2.500,\"args\":{\"tokens\":3}"), 400);
  EXPECT_EQ(count(text, R"("name":"a \"rank\" ")"), 4);
  EXPECT_EQ(count(text, "\n"), 400 + 4 * 2 + 2) << "one event a line";
}

TEST(TraceWriter, SaysWhereItCannotWrite) {
  const auto trace = TraceWriter::create("/nowhere/trace.json");
  ASSERT_FALSE(trace.ok());
  EXPECT_NE(trace.error().to_string().find("/nowhere/trace.json"), std::string::npos);
}

TEST(TraceWriter, AnEmptyTraceIsAnArrayToo) {
  const std::string path = testing::TempDir() + "tandem_empty_trace_test.json";
  TraceWriter::create(path).value().reset();
  EXPECT_EQ(read(path), "[]\n");
}

}  // namespace
}  // namespace tandem
