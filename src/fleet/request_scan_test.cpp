#include "fleet/request_scan.h"

#include <gtest/gtest.h>

namespace tandem {
namespace {

RequestScan scanned(std::string_view body) {
  const auto scan = scan_request(body);
  EXPECT_TRUE(scan.ok()) << body << ": " << (scan.ok() ? "" : scan.error().to_string());
  return scan.ok() ? *scan : RequestScan();
}

TEST(RequestScanTest, FindsWhatRoutingNeedsWhereverItStands) {
  const std::string_view body =
      R"( {"messages":[{"role":"user","content":"say \"model\": \"b\" }]"}], "stream" : true,
          "max_tokens": 12, "x":{"model":"c","y":[[],{}]}, "model":"a", "n":-1.5e3 } )";
  const RequestScan scan = scanned(body);
  EXPECT_EQ(scan.model, "a");
  EXPECT_TRUE(scan.stream);
  EXPECT_EQ(scan.max_tokens, 12);
  EXPECT_EQ(body.substr(scan.prompt_begin, 2), "[{");
  EXPECT_EQ(body[scan.prompt_end - 1], ']');
  EXPECT_EQ(body.substr(scan.model_begin, scan.model_end - scan.model_begin), "\"a\"");
}

TEST(RequestScanTest, ReadsEscapesAsEveryoneElseDoes) {
  EXPECT_EQ(scanned(R"({"mod\u0065l":"\u00e9\n"})").model, "\u00e9\n");
  EXPECT_FALSE(scan_request(R"({"model":"\x"})").ok());
}

TEST(RequestScanTest, RefusesTwoModels) {
  EXPECT_FALSE(scan_request(R"({"model":"a","model":"b"})").ok());
  EXPECT_FALSE(scan_request(R"({"model":"a","mod\u0065l":"b"})").ok());
  EXPECT_FALSE(scan_request(R"({"model":null,"model":"b"})").ok());
  EXPECT_FALSE(scan_request(R"({"model":["a"]})").ok());
  EXPECT_FALSE(scan_request(R"({"model":7})").ok());
  EXPECT_EQ(scanned(R"({"model":null})").model, std::nullopt);
}

TEST(RequestScanTest, RefusesWhatIsNoJson) {
  for (const char* body : {"", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1,}",
                           "{\"a\":\"b}", "{a:1}", "{\"a\":[1}", "{\"a\":{]}", "{} x",
                           "\xef\xbb\xbf{}", "{\"a\":'b'}", "{\"a\":\"\n\"}", "{\"a\":\"b\\"}) {
    EXPECT_FALSE(scan_request(body).ok()) << body;
  }
  EXPECT_FALSE(scan_request("{\"a\":" + std::string(129, '[') + std::string(129, ']') + "}").ok());
  EXPECT_TRUE(scan_request("{\"a\":" + std::string(128, '[') + std::string(128, ']') + "}").ok());
}

TEST(RequestScanTest, PutsAnotherModelIn) {
  const std::string_view body = R"({"a":1, "model" : "ours", "b":2})";
  EXPECT_EQ(with_model(body, scanned(body), "their/\"name\""),
            R"({"a":1, "model" : "their/\"name\"", "b":2})");
}

}  // namespace
}  // namespace tandem
