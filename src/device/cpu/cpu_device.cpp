#include <algorithm>
#include <fstream>
#include <string>

#include "base/cores.h"
#include "device/cpu/cpu_stream.h"
#include "device/cpu/host_memory.h"
#include "device/cpu/instruction_set.h"
#include "device/cpu/matmul/cpu_weight.h"
#include "device/cpu/thread_pool.h"
#include "device/device.h"

namespace tandem {
namespace {

class CpuBuffer : public Buffer {
 public:
  explicit CpuBuffer(HostMemory memory) : memory_(std::move(memory)) {}
  void* data() override { return memory_.data(); }
  std::int64_t size_bytes() const override { return memory_.size_bytes(); }

 private:
  HostMemory memory_;
};

class CpuDevice : public Device {
 public:
  CpuDevice(DeviceInfo info, const CpuDeviceOptions& options, InstructionSet set)
      : info_(std::move(info)),
        arithmetic_(options.arithmetic),
        set_(set),
        pool_(options.cores, options.pin_threads) {}

  const DeviceInfo& info() const override { return info_; }
  void bind_thread() override { pool_.bind_caller(); }

  Result<std::unique_ptr<Buffer>> allocate(std::int64_t bytes) override {
    if (bytes < 0) {
      return invalid_argument("negative buffer size", "0 or more", std::to_string(bytes));
    }
    Result<HostMemory> memory = HostMemory::allocate(bytes);
    if (!memory.ok()) return memory.error().at(info_.id);
    return std::unique_ptr<Buffer>(std::make_unique<CpuBuffer>(std::move(memory).value()));
  }

  Result<std::unique_ptr<Weight>> load_weight(const WeightSource& source) override {
    return load_cpu_weight(source, pool_, arithmetic_, set_, arena_);
  }

  std::unique_ptr<Stream> create_stream() override {
    return std::make_unique<CpuStream>(pool_, arithmetic_, set_);
  }

 private:
  DeviceInfo info_;
  Arithmetic arithmetic_;
  InstructionSet set_;
  ThreadPool pool_;
  WeightArena arena_;
};

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

Status check_cores(const std::vector<int>& cores) {
  for (std::size_t i = 0; i < cores.size(); ++i) {
    if (!std::binary_search(allowed_cores().begin(), allowed_cores().end(), cores[i])) {
      return invalid_argument("this process may not run on core " + std::to_string(cores[i]));
    }
    if (std::find(cores.begin() + static_cast<std::ptrdiff_t>(i) + 1, cores.end(), cores[i]) !=
        cores.end()) {
      return invalid_argument("core " + std::to_string(cores[i]) + " is listed twice");
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>> create_cpu_device(std::string id, const CpuDeviceOptions& options) {
  CpuDeviceOptions resolved = options;
  if (resolved.cores.empty()) resolved.cores = allowed_cores();
  if (Status status = check_cores(resolved.cores); !status.ok()) return status.error().at(id);
  Result<InstructionSet> set = instruction_set_from_name(options.instruction_set);
  if (!set.ok()) return set.error().at(id);
  DeviceInfo info{std::move(id), DeviceKind::kCpu, processor_name(), physical_host_memory_bytes(),
                  true};
  return std::unique_ptr<Device>(std::make_unique<CpuDevice>(std::move(info), resolved, *set));
}

}  // namespace tandem
