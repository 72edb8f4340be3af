#pragma once

#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

Status read_cpuinfo(std::string_view text, SurveyWriter& writer);            // /proc/cpuinfo
Status read_meminfo(std::string_view text, SurveyWriter& writer);            // /proc/meminfo
Status read_lscpu(std::string_view text, SurveyWriter& writer);              // lscpu
Status read_lscpu_table(std::string_view text, SurveyWriter& writer);        // lscpu -e
Status read_numactl(std::string_view text, SurveyWriter& writer);            // numactl -H
Status read_dmidecode(std::string_view text, SurveyWriter& writer);          // dmidecode
void read_driver_params(std::string_view text, SurveyWriter& writer);        // .../nvidia/params
void read_kernel_command_line(std::string_view text, SurveyWriter& writer);  // /proc/cmdline
void read_nvidia_version(std::string_view text,
                         SurveyWriter& writer);  // /proc/driver/nvidia/version

// dmesg or journalctl -k: Xid reports of the NVIDIA driver; also the fabric manager's log.
Status read_kernel_log(std::string_view text, SurveyWriter& writer);

}  // namespace tandem
