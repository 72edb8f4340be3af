#include <algorithm>

#include "machine/findings/findings.h"
#include "machine/text_scan.h"

namespace tandem {

namespace {

// driver-failure: the driver is there and does not answer. A mismatch is what an update of the
// driver's packages leaves behind until the old kernel module is unloaded.
void find_driver_failure(const Survey& survey, std::vector<Finding>& findings) {
  if (!survey.host.driver_failure) return;
  const std::string& words = *survey.host.driver_failure;
  const bool mismatch = contains_ignoring_case(words, "mismatch");
  findings.push_back(
      {"driver-failure",
       Severity::kError,
       "host",
       mismatch ? "The NVIDIA driver's kernel module and its library are of different versions"
                : "The NVIDIA driver does not answer",
       {words},
       mismatch ? "Reboot, or end all programs that use the cards and reload the module (rmmod "
                  "nvidia_uvm nvidia_drm nvidia_modeset nvidia; modprobe nvidia). In a container, "
                  "the driver's library must be the host's."
                : "Look at dmesg for NVRM lines; is the module loaded (modprobe nvidia), built for "
                  "this kernel, and not blocked by Secure Boot?",
       "certain"});
}

}  // namespace

// driver-failure, no-gpu, gpu-without-driver.
void find_presence(const Survey& survey, std::vector<Finding>& findings) {
  find_driver_failure(survey, findings);
  if (survey.gpus.empty() && !survey.is_planned) {
    const bool looked = survey.is_local || !survey.pci.empty();
    findings.push_back(
        {"no-gpu",
         Severity::kInfo,
         "machine",
         looked ? "No GPU here: Tandem will compute on the CPU" : "These recordings list no GPU",
         {survey.pci.empty() ? "no source lists PCI devices"
                             : std::to_string(survey.pci.size()) +
                                   " PCI devices, none of them a GPU for computing"},
         looked ? survey.host.host.numa_nodes.size() > 1
                      ? "Nothing to repair. tandem run uses one CPU device per NUMA node."
                      : "Nothing to repair: tandem run uses all cores as one device."
                : "Add nvidia-smi -q -x or lspci -vvv to the folder to have its GPUs judged.",
         "certain"});
    return;
  }
  for (int i = 0; i < num_gpus(survey); ++i) {
    const GpuFacts& gpu = gpu_at(survey, i);
    if (gpu.has_driver != false || !gpu.address) continue;
    const PciDevice* device = survey.find_pci(*gpu.address);
    const std::string driver = device != nullptr && device->driver ? *device->driver : "";
    const std::string driver_text =
        driver.empty() ? "no driver is bound" : "the driver bound is " + driver;
    const bool nvidia = gpu.vendor == GpuVendor::kNvidia;
    std::string advice = nvidia ? "Install NVIDIA's driver (nvidia-driver or nvidia-open) and see "
                                  "that dmesg shows no NVRM error."
                                : "Install the maker's driver for this card.";
    if (driver == "vfio-pci")
      advice =
          "The card is set aside for a virtual machine; unbind it from vfio-pci to use it here.";
    if (driver == "nouveau")
      advice = "Replace nouveau by NVIDIA's driver: nouveau cannot run CUDA.";
    findings.push_back({"gpu-without-driver",
                        Severity::kWarning,
                        survey.gpu_label(i),
                        "This GPU has no driver that can compute",
                        {gpu.address->to_string() + ": " + driver_text},
                        advice,
                        "certain"});
  }
}

}  // namespace tandem
