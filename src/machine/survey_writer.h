#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "machine/survey.h"

namespace tandem {

// How one source enters its facts into a Survey: what is new is kept, what is known stays, and
// where a source contradicts an earlier one a Conflict is noted.
class SurveyWriter {
 public:
  // `survey` must outlive the writer. `source`: the name shown to people.
  SurveyWriter(Survey& survey, std::string source) : survey_(survey), source_(std::move(source)) {}

  Survey& survey() { return survey_; }
  const std::string& source() const { return source_; }

  // The GPU at `address`, made if new.
  GpuFacts& gpu_at(const PciAddress& address);
  // The GPU that nvidia-smi numbers `index`, made if new; nullptr for an index beyond reason.
  GpuFacts* gpu_numbered(int index);
  PciDevice& pci_at(const PciAddress& address);

  // The source was read and yet seems to lack its end.
  void note_cut(std::string_view why);

  // A fact that does not change while the machine runs.
  template <typename T, typename U>
  void learn(std::optional<T>& slot, const std::optional<U>& value, const std::string& subject,
             std::string_view fact) {
    if (!value) return;
    if (!slot) {
      slot = static_cast<T>(*value);
      remember(subject, fact);
    } else if (*slot != static_cast<T>(*value)) {
      disagree(subject, fact, text_of(*slot), text_of(static_cast<T>(*value)));
    }
  }

  // A reading of the moment: the first one is kept and another is no contradiction.
  template <typename T, typename U>
  static void read(std::optional<T>& slot, const std::optional<U>& value) {
    if (value && !slot) slot = static_cast<T>(*value);
  }

 private:
  static std::string text_of(const std::string& value) { return value; }
  static std::string text_of(bool value) { return value ? "yes" : "no"; }
  template <typename T>
  static std::string text_of(T value) {
    return std::to_string(value);
  }
  void remember(const std::string& subject, std::string_view fact);
  void disagree(const std::string& subject, std::string_view fact, std::string known,
                std::string stated);

  Survey& survey_;
  std::string source_;
};

}  // namespace tandem
