#include "machine/survey_writer.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr int kMaxGpus = 64;
constexpr std::size_t kMaxConflicts = 200;

}  // namespace

GpuFacts& SurveyWriter::gpu_at(const PciAddress& address) {
  for (GpuFacts& gpu : survey_.gpus)
    if (gpu.address == address) return gpu;
  // A GPU that an index-only source named before gets its address now.
  for (GpuFacts& gpu : survey_.gpus) {
    if (gpu.address) continue;
    gpu.address = address;
    return gpu;
  }
  GpuFacts gpu;
  gpu.address = address;
  const auto place = std::find_if(survey_.gpus.begin(), survey_.gpus.end(),
                                  [&](const GpuFacts& other) { return *other.address > address; });
  return *survey_.gpus.insert(place, std::move(gpu));
}

GpuFacts* SurveyWriter::gpu_numbered(int index) {
  if (index < 0 || index >= kMaxGpus) return nullptr;
  if (survey_.gpus.size() <= static_cast<std::size_t>(index))
    survey_.gpus.resize(static_cast<std::size_t>(index) + 1);
  return &survey_.gpus[static_cast<std::size_t>(index)];
}

PciDevice& SurveyWriter::pci_at(const PciAddress& address) {
  PciDevice& device = survey_.pci[address];
  device.address = address;
  return device;
}

void SurveyWriter::note_cut(std::string_view why) {
  constexpr std::size_t kMaxNotes = 8;
  if (survey_.cut_sources.size() < kMaxNotes)
    survey_.cut_sources.push_back(source_ + ": " + std::string(why));
}

void SurveyWriter::remember(const std::string& subject, std::string_view fact) {
  survey_.origins[subject + '\n' + std::string(fact)] = source_;
}

void SurveyWriter::disagree(const std::string& subject, std::string_view fact, std::string known,
                            std::string stated) {
  if (survey_.conflicts.size() >= kMaxConflicts) return;
  const auto origin = survey_.origins.find(subject + '\n' + std::string(fact));
  const std::string first = origin == survey_.origins.end() ? "another source" : origin->second;
  survey_.conflicts.push_back(
      {subject, std::string(fact), first + ": " + known, source_ + ": " + stated});
}

}  // namespace tandem
