#include "machine/local_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "machine/cgroup_limits.h"
#include "machine/device_list.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

class CgroupFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("tandem_cgroup_" + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST_F(CgroupFiles, TheTightestGroupAboveCounts) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/memory.max", "1000\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  const CgroupLimits limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.memory_bytes, 1000);
  EXPECT_EQ(limits.cpus, 1.5);
}

TEST_F(CgroupFiles, VersionOneHasItsOwnFiles) {
  write("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/x\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2048\n");
  write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  const CgroupLimits limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.memory_bytes, 2048);
  EXPECT_EQ(limits.cpus, 0.5);
}

TEST_F(CgroupFiles, NoLimitIsNone) {
  write("proc/self/cgroup", "0::/\n4:memory:/\nnonsense\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/cpu.max", "rubbish");
  const CgroupLimits limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.memory_bytes, std::nullopt);
  EXPECT_EQ(limits.cpus, std::nullopt);
}

TEST(LocalMachine, KnowsItsCoresAndMemory) {
  const auto machine = detect_local_machine();
  ASSERT_TRUE(machine.ok()) << machine.error().to_string();
  ASSERT_TRUE(machine->host.cores.has_value());
  EXPECT_GE(*machine->host.cores, 1);
  EXPECT_LE(*machine->host.cores, static_cast<int>(std::thread::hardware_concurrency()));
  EXPECT_GT(machine->host.memory_bytes.value_or(0), 1 << 20);
  const auto devices = select_devices(*parse_device_list("cpu"), *machine);
  ASSERT_TRUE(devices.ok()) << devices.error().to_string();
  EXPECT_EQ(static_cast<int>(devices->front().cores.size()), *machine->host.cores);
}

TEST(LocalMachine, ObeysTheAffinityOfTheProcess) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  int last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &before)) last = cpu;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const auto machine = detect_local_machine();
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  ASSERT_TRUE(machine.ok()) << machine.error().to_string();
  EXPECT_EQ(machine->host.cores, 1);
  EXPECT_EQ(machine->host.logical_cpus, 1);
  ASSERT_EQ(select_devices(*parse_device_list("cpu"), *machine)->front().cores,
            std::vector<int>{last});
}

}  // namespace
}  // namespace tandem
