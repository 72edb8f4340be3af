#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "machine/nvml_source.h"

// A driver that is not there: functions in its place, answering for two cards.

namespace tandem {
namespace {

int ok_init() {
  return 0;
}
int failing_init() {
  return 9;
}
int two_cards(unsigned* count) {
  *count = 2;
  return 0;
}
int card(unsigned index, NvmlApi::Device* device) {
  *device = reinterpret_cast<NvmlApi::Device>(static_cast<std::uintptr_t>(index) + 1);
  return 0;
}
unsigned number_of(NvmlApi::Device device) {
  return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(device)) - 1;
}
int address(NvmlApi::Device device, NvmlApi::PciInfo* info) {
  *info = {};
  info->bus = 0x41 + 0x20 * number_of(device);
  return 0;
}
int called(NvmlApi::Device, char* text, unsigned size) {
  std::strncpy(text, "NVIDIA RTX A6000", size);
  return 0;
}
int width(NvmlApi::Device device, unsigned* value) {
  *value = number_of(device) == 0 ? 16 : 8;
  return 0;
}
int refuses(NvmlApi::Device, unsigned*) {
  return 3;
}
int reasons(NvmlApi::Device, unsigned long long* value) {
  *value = 0x40 | 0x8;
  return 0;
}
int link_state(NvmlApi::Device, unsigned link, int* state) {
  if (link >= 4) return 2;
  *state = link < 3 ? 1 : 0;
  return 0;
}
int peers(NvmlApi::Device, NvmlApi::Device, int, int* status) {
  *status = 1;
  return 0;
}
int ancestor(NvmlApi::Device, NvmlApi::Device, int* level) {
  *level = 30;
  return 0;
}

NvmlApi two_card_driver() {
  NvmlApi api;
  api.init = ok_init;
  api.device_count = two_cards;
  api.device_by_index = card;
  api.pci_info = address;
  api.name = called;
  api.link_width = width;
  api.power_usage_mw = refuses;
  api.slowdown_reasons = reasons;
  api.nvlink_state = link_state;
  api.peer_status = peers;
  api.common_ancestor = ancestor;
  return api;
}

TEST(Nvml, EntersWhatTheDriverSaysAndNothingElse) {
  Survey survey;
  SurveyWriter writer(survey, "NVML");
  const Status status = read_nvml(two_card_driver(), writer);
  ASSERT_TRUE(status.ok()) << status.error().to_string();
  ASSERT_EQ(survey.gpus.size(), 2U);
  EXPECT_EQ(survey.gpus[1].address->to_string(), "0000:61:00.0");
  EXPECT_EQ(survey.gpus[1].name, "NVIDIA RTX A6000");
  EXPECT_EQ(survey.gpus[1].link.width, 8);
  EXPECT_EQ(survey.gpus[1].power.draw_w, std::nullopt);  // refused
  EXPECT_EQ(survey.gpus[1].memory_bytes, std::nullopt);  // the driver lacks the function
  EXPECT_THAT(survey.gpus[0].slowdowns,
              ::testing::ElementsAre("hw_slowdown", "hw_thermal_slowdown"));
  EXPECT_EQ(survey.gpus[0].nvlinks->size(), 4U);
  EXPECT_EQ(survey.find_pair(0, 1)->topology, "PHB");
  EXPECT_EQ(survey.find_pair(0, 1)->peer.at("read"), "CNS");
}

TEST(Nvml, ADriverThatDoesNotAnswerSaysWhy) {
  NvmlApi api = two_card_driver();
  api.init = failing_init;
  Survey survey;
  SurveyWriter writer(survey, "NVML");
  EXPECT_TRUE(read_nvml(api, writer).ok());
  EXPECT_THAT(survey.host.driver_failure.value_or(""), ::testing::HasSubstr("code 9"));
  api.init = [] { return 18; };
  Survey updated;
  SurveyWriter other(updated, "NVML");
  EXPECT_TRUE(read_nvml(api, other).ok());
  EXPECT_THAT(updated.host.driver_failure.value_or(""), ::testing::HasSubstr("mismatch"));
}

int to_each_other(NvmlApi::Device device, unsigned, NvmlApi::PciInfo* info) {
  *info = {};
  info->bus = 0x41 + 0x20 * (1 - number_of(device));
  return 0;
}
int to_a_switch(NvmlApi::Device, unsigned, int* type) {
  *type = 2;
  return 0;
}
int weak_source(NvmlApi::Device device, unsigned* source) {
  *source = number_of(device) == 0 ? 0 : 2;
  return 0;
}
int rows(NvmlApi::Device, unsigned*, unsigned*, unsigned* waiting, unsigned* failed) {
  *waiting = 1;
  *failed = 0;
  return 0;
}

TEST(Nvml, CountsTheNvlinksBetweenTwoCards) {
  NvmlApi api = two_card_driver();
  api.nvlink_remote = to_each_other;
  Survey survey;
  SurveyWriter writer(survey, "NVML");
  ASSERT_TRUE(read_nvml(api, writer).ok());
  EXPECT_EQ(survey.find_pair(0, 1)->topology, "NV3");  // the fourth is down
  api.nvlink_remote = nullptr;
  api.nvlink_remote_type = to_a_switch;
  Survey switched;
  SurveyWriter other(switched, "NVML");
  ASSERT_TRUE(read_nvml(api, other).ok());
  EXPECT_EQ(switched.find_pair(0, 1)->topology, "NV3");
}

TEST(Nvml, TellsTheSourceOfPowerAndWaitingRepairs) {
  NvmlApi api = two_card_driver();
  api.power_source = weak_source;
  api.remapped_rows = rows;
  Survey survey;
  SurveyWriter writer(survey, "NVML");
  ASSERT_TRUE(read_nvml(api, writer).ok());
  EXPECT_EQ(survey.gpus[0].power.source, "AC");
  EXPECT_EQ(survey.gpus[1].power.source, "undersized");
  EXPECT_EQ(survey.gpus[1].health.repair_pending, true);
  EXPECT_EQ(survey.gpus[1].health.repair_failed, false);
}

}  // namespace
}  // namespace tandem
