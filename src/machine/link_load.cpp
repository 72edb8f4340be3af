#include "machine/link_load.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "machine/text_scan.h"
#include "machine/watched_child.h"

namespace tandem {
namespace {

constexpr double kWarmUpSeconds = 0.3;  // links train up within milliseconds of the first copy

using Cards = std::vector<std::unique_ptr<CudaCard>>;

// Copies on every link at once until destroyed.
class Load {
 public:
  Load(const CudaDriver& cuda, const Cards& cards, const std::vector<char>& source) {
    for (const auto& card : cards)
      threads_.emplace_back([this, &cuda, &source, card = card.get()] {
        if (cuda.set_context(card->context()) != 0) return;
        while (!stop_ && cuda.to_device(card->buffer(), source.data(), source.size()) == 0) {
        }
      });
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

// What the child says, a line each: "step TEXT", "busy", "trial ...", "error TEXT", "done".
class Teller {
 public:
  explicit Teller(int pipe) : pipe_(pipe) {}
  void say(std::string line) const {
    std::replace(line.begin(), line.end(), '\n', ' ');
    line += '\n';
    for (std::size_t sent = 0; sent < line.size();) {
      const ssize_t size = ::write(pipe_, line.data() + sent, line.size() - sent);
      if (size <= 0) _exit(1);  // nobody listens any more
      sent += static_cast<std::size_t>(size);
    }
  }

 private:
  int pipe_;
};

constexpr char kSeparator = '\t';

std::string to_line(const PeerTrial& trial) {
  std::string line = "trial ";
  for (const std::string& field :
       {trial.a.to_string(), trial.b.to_string(), std::string(trial.granted ? "1" : "0"),
        std::string(trial.copied ? "1" : "0"), std::string(trial.summed ? "1" : "0"),
        std::to_string(trial.gbps), trial.failure, trial.not_summed})
    line += field + kSeparator;
  return line;
}

PeerTrial from_line(std::string_view line) {
  std::vector<std::string> fields;
  for (line.remove_prefix(6); !line.empty();) {
    const std::size_t end = line.find(kSeparator);
    fields.emplace_back(line.substr(0, end));
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  }
  fields.resize(8);
  PeerTrial trial;
  trial.a = PciAddress::parse(fields[0]).value_or(PciAddress{});
  trial.b = PciAddress::parse(fields[1]).value_or(PciAddress{});
  trial.granted = fields[2] == "1";
  trial.copied = fields[3] == "1";
  trial.summed = fields[4] == "1";
  trial.gbps = leading_number(fields[5]).value_or(0);
  trial.failure = fields[6];
  trial.not_summed = fields[7];
  return trial;
}

// The child's life. It waits for the parent between the load and the pairs.
int load_and_try(const CudaDriver& cuda, const LadderSizes& sizes, const WatchedChild::Ends& ends) {
  const Teller teller(ends.to_parent);
  teller.say("step opening the cards");
  const auto cards = open_cuda_cards(cuda, sizes.bytes_per_card());
  if (!cards.ok()) {
    teller.say("error " + cards.error().to_string());
    return 1;
  }
  {
    const std::vector<char> source(sizes.copy_bytes, 0x5A);
    const Load load(cuda, *cards, source);
    std::this_thread::sleep_for(std::chrono::duration<double>(kWarmUpSeconds));
    teller.say("busy");
    char go = 0;
    if (::read(ends.from_parent, &go, 1) != 1) return 1;
  }
  for (std::size_t a = 0; a < cards->size(); ++a)
    for (std::size_t b = a + 1; b < cards->size(); ++b)
      teller.say(
          to_line(climb_peer_ladder(cuda, *(*cards)[a], *(*cards)[b], sizes,
                                    [&](const std::string& step) { teller.say("step " + step); })));
  teller.say("done");
  return 0;
}

// "direct copy 0000:41:00.0 -> 0000:61:00.0" ended without an answer.
PeerTrial trial_of_step(const std::string& step, const std::string& how) {
  const auto words = split_words(step);
  PeerTrial trial;
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    if (words[i] != "->") continue;
    trial.a = PciAddress::parse(words[i - 1]).value_or(PciAddress{});
    trial.b = PciAddress::parse(words[i + 1]).value_or(PciAddress{});
  }
  trial.granted = step.starts_with("direct");
  trial.copied = contains(step, "reduction");
  trial.failure = step + ": " + how;
  return trial;
}

// Hears the child out. What it leaves unsaid when it hangs or dies is an answer too.
class Listener {
 public:
  Listener(WatchedChild& child, const LoadOptions& options) : child_(child), options_(options) {}

  // Up to "busy". Error where the driver does not come that far.
  Status hear_opening() {
    while (true) {
      auto line = child_.read_line(options_.open_seconds);
      if (!line.ok()) return failed("no answer within " + seconds_text(options_.open_seconds));
      if (!line->has_value()) return failed("the driver ended the process, " + child_.end(1));
      if (**line == "busy") return {};
      if ((*line)->starts_with("error ")) return failed((*line)->substr(6));
      note_step(**line);
    }
  }

  LoadResult hear_trials() {
    LoadResult result;
    step_ = "ending the load";
    while (true) {
      auto line = child_.read_line(options_.step_seconds);
      if (!line.ok())
        return cut_short(std::move(result),
                         "no answer within " + seconds_text(options_.step_seconds));
      if (!line->has_value())
        return cut_short(std::move(result), "the driver ended the process, " + child_.end(1));
      if (**line == "done") return result;
      if ((*line)->starts_with("trial "))
        result.trials.push_back(from_line(**line));
      else
        note_step(**line);
    }
  }

 private:
  static std::string seconds_text(double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%g s", seconds);
    return text;
  }
  void note_step(const std::string& line) {
    if (line.starts_with("step ")) step_ = line.substr(5);
  }
  Status failed(const std::string& how) const {
    return Error{ErrorCode::kDeviceFailed, step_ + ": " + how, "copy load", {}, {}};
  }
  LoadResult cut_short(LoadResult result, const std::string& how) const {
    result.cut_short = step_ + ": " + how;
    if (step_.find(" -> ") != std::string::npos) result.trials.push_back(trial_of_step(step_, how));
    return result;
  }

  WatchedChild& child_;
  const LoadOptions& options_;
  std::string step_ = "starting";
};

}  // namespace

Result<LoadResult> load_links(const CudaDriver& cuda, const std::function<void()>& while_busy,
                              const LoadOptions& options) {
  TANDEM_TRY(WatchedChild child, WatchedChild::run([&](const WatchedChild::Ends& ends) {
               return load_and_try(cuda, options.sizes, ends);
             }));
  Listener listener(child, options);
  TANDEM_TRY_STATUS(listener.hear_opening());
  while_busy();
  child.write("g");
  return listener.hear_trials();
}

}  // namespace tandem
