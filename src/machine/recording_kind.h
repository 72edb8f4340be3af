#pragma once

#include <string>
#include <string_view>

#include "machine/survey_writer.h"

namespace tandem {

// What a file of a recording is, in the order in which kinds are read: those that give GPUs an
// address come before those that only number them.
enum class RecordingKind {
  kNvidiaSmiXml,
  kNvidiaSmiText,
  kNvidiaSmiTable,
  kRocmSmi,
  kLspci,
  kLspciTree,
  kLstopoXml,
  kNcclXml,
  kNvidiaSmiList,
  kTopologyMatrix,
  kPeerMatrix,
  kNvlinkStatus,
  kCpuinfo,
  kMeminfo,
  kLscpu,
  kLscpuTable,
  kNumactl,
  kDmidecode,
  kKernelLog,
  kKernelCommandLine,
  kP2pTest,
  kNvbandwidth,
  kNcclTest,
  kNvidiaSmiFailure,  // nvidia-smi's word that the driver does not answer
  kDriverParams,
  kKnownUseless,  // known, but without facts about the machine: help texts, bandwidthTest
  kArchive,
  kUnknown,
};

std::string_view name_of(RecordingKind kind);

// By content; the file's name plays no part. `text` is clean (clean_text).
RecordingKind recognise_recording(std::string_view text);

// Reads one file of the given kind into the survey behind `writer`.
Status read_recording(RecordingKind kind, std::string_view text, SurveyWriter& writer);

}  // namespace tandem
