#pragma once

#include <filesystem>

#include "machine/survey_writer.h"

namespace tandem {

// <root>/bus/pci/devices, where root is /sys or a recording of it: ids, links, NUMA nodes,
// drivers, IOMMU groups, AER counters, BARs. Reads regular files only, each at most 64 KiB, and
// follows no link out of the recording.
Status read_sysfs(const std::filesystem::path& root, SurveyWriter& writer);

// The known files below a /proc, or a recording of it.
Status read_proc(const std::filesystem::path& root, SurveyWriter& writer);

}  // namespace tandem
