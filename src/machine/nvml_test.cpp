#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "machine/link_load.h"
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

TEST(Nvml, ADriverThatDoesNotAnswerIsAnError) {
  NvmlApi api = two_card_driver();
  api.init = failing_init;
  Survey survey;
  SurveyWriter writer(survey, "NVML");
  EXPECT_FALSE(read_nvml(api, writer).ok());
}

// CUDA's driver with the host's memory for that of the cards. `corrupt` spoils peer copies.
bool corrupt = false;

CudaDriver host_memory_cuda() {
  CudaDriver cuda;
  cuda.init = [](unsigned) { return 0; };
  cuda.device_count = [](int* count) { return *count = 2, 0; };
  cuda.device = [](int* device, int ordinal) { return *device = ordinal, 0; };
  cuda.pci_bus_id = [](char* text, int length, int device) {
    std::strncpy(text, device == 0 ? "0000:41:00.0" : "0000:61:00.0",
                 static_cast<std::size_t>(length));
    return 0;
  };
  cuda.retain_context = [](CudaDriver::Context* context, int device) {
    *context = reinterpret_cast<CudaDriver::Context>(static_cast<std::uintptr_t>(device) + 1);
    return 0;
  };
  cuda.release_context = [](int) { return 0; };
  cuda.set_context = [](CudaDriver::Context) { return 0; };
  cuda.allocate = [](CudaDriver::Pointer* pointer, std::size_t bytes) {
    *pointer = reinterpret_cast<CudaDriver::Pointer>(new char[bytes]);
    return 0;
  };
  cuda.free = [](CudaDriver::Pointer pointer) {
    delete[] reinterpret_cast<char*>(pointer);
    return 0;
  };
  cuda.to_device = [](CudaDriver::Pointer to, const void* from, std::size_t bytes) {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return 0;
  };
  cuda.to_host = [](void* to, CudaDriver::Pointer from, std::size_t bytes) {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return 0;
  };
  cuda.can_access_peer = [](int* can, int, int) { return *can = 1, 0; };
  cuda.enable_peer = [](CudaDriver::Context, unsigned) { return 0; };
  cuda.copy_peer = [](CudaDriver::Pointer to, CudaDriver::Context, CudaDriver::Pointer from,
                      CudaDriver::Context, std::size_t bytes) {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    if (corrupt) reinterpret_cast<char*>(to)[bytes / 2] ^= 1;
    return 0;
  };
  cuda.synchronize = [] { return 0; };
  return cuda;
}

TEST(LinkLoad, VerifiesCopiesByteByByteWhileTheStateIsRead) {
  corrupt = false;
  bool read = false;
  const auto result = load_links(host_memory_cuda(), [&] { read = true; });
  ASSERT_TRUE(result.ok()) << result.error().to_string();
  EXPECT_TRUE(read);
  ASSERT_EQ(result->trials.size(), 1U);
  EXPECT_EQ(result->trials[0].b.to_string(), "0000:61:00.0");
  EXPECT_TRUE(result->trials[0].granted);
  EXPECT_TRUE(result->trials[0].bytes_correct);
  EXPECT_GT(result->trials[0].gbps, 0);
}

TEST(LinkLoad, OneWrongBitIsSeen) {
  corrupt = true;
  const auto result = load_links(host_memory_cuda(), [] {});
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->trials[0].bytes_correct);
}

TEST(LinkLoad, ACardWithoutMemoryIsAnError) {
  CudaDriver cuda = host_memory_cuda();
  cuda.allocate = [](CudaDriver::Pointer*, std::size_t) { return 2; };
  const auto result = load_links(cuda, [] {});
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().to_string(), ::testing::HasSubstr("cuMemAlloc"));
}

}  // namespace
}  // namespace tandem
