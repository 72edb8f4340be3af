#include "text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/log.h"
#include "text/utf8.h"

namespace tandem {
namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

// The steps that one match may take, beyond one for each byte that is searched: no pattern of the
// catalogue comes near it on any text, so that meeting it means a pathological one.
constexpr std::uint32_t kMatchLimit = 50'000'000;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;

// PCRE2's \s counts U+180E, which is no white space since Unicode 6.3; the models' tokenizers go by
// the White_Space property.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        out += "\\p{White_Space}";
      } else if (escaped == 'S') {
        out += "\\P{White_Space}";
      } else {
        out += '\\';
        out += escaped;
      }
    } else {
      out += pattern[i];
    }
  }
  return out;
}

// What matching needs beside the pattern; one per call of PreTokenizer::split().
struct Scratch {
  Scratch()
      : data(pcre2_match_data_create(1, nullptr)), context(pcre2_match_context_create(nullptr)) {
    TANDEM_CHECK(data && context, "out of memory");
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKiB);
  }

  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
};

std::string pcre2_message(int code) {
  char buffer[256] = {};
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(buffer), sizeof(buffer));
  return buffer;
}

}  // namespace

class PreTokenizer::Pattern {
 public:
  static Result<std::unique_ptr<Pattern>> create(std::string_view text) {
    const std::string pattern = with_unicode_spaces(text);
    int code = 0;
    PCRE2_SIZE offset = 0;
    std::unique_ptr<pcre2_code, FreeCode> compiled(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &code, &offset, nullptr));
    if (!compiled) {
      return Error{ErrorCode::kInternal, "pre-tokenizer pattern: " + pcre2_message(code),
                   "offset " + std::to_string(offset), "", pattern};
    }
    // Where the machine has no JIT, pcre2_match() interprets: slower, the same result.
    pcre2_jit_compile(compiled.get(), PCRE2_JIT_COMPLETE);
    auto result = std::make_unique<Pattern>();
    result->code_ = std::move(compiled);
    return result;
  }

  // Appends to `pieces` the matches within `text` (valid UTF-8) and what lies between them.
  void split(std::string_view text, const Scratch& scratch,
             std::vector<std::string_view>& pieces) const {
    std::size_t done = 0;
    std::size_t from = 0;
    while (from < text.size()) {
      const int found = match(text, from, scratch);
      if (found < 0) {
        if (found != PCRE2_ERROR_NOMATCH) warn_once(found);
        break;
      }
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data.get());
      const std::size_t begin = bounds[0];
      const std::size_t end = bounds[1];
      if (end == begin) {  // nothing was taken: go on behind the next character
        from = begin + (begin < text.size() ? read_utf8(text, begin).num_bytes : 1);
        continue;
      }
      if (begin > done) pieces.push_back(text.substr(done, begin - done));
      pieces.push_back(text.substr(begin, end - begin));
      done = from = end;
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
  }

 private:
  int match(std::string_view text, std::size_t from, const Scratch& scratch) const {
    const auto run = [&](std::uint32_t options) {
      return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         options, scratch.data.get(), scratch.context.get());
    };
    int found = run(PCRE2_NO_UTF_CHECK);
    // The JIT's stack is small and fixed; the interpreter's is on the heap.
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = run(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    return found == 0 ? 1 : found;  // 0: more groups than `data` holds, but the match is there
  }

  static void warn_once(int code) {
    static const bool warned = [&] {
      spdlog::warn("pre-tokenizer: {}; the rest of the text is taken as one word",
                   pcre2_message(code));
      return true;
    }();
    static_cast<void>(warned);
  }

  std::unique_ptr<pcre2_code, FreeCode> code_;
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::~PreTokenizer() = default;

Result<std::unique_ptr<PreTokenizer>> PreTokenizer::create(const PreTokenizerSpec& spec) {
  std::unique_ptr<PreTokenizer> result(new PreTokenizer());
  for (const std::string_view text : spec.patterns) {
    TANDEM_TRY(auto pattern, Pattern::create(text));
    result->patterns_.push_back(std::move(pattern));
  }
  return result;
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const Scratch scratch;
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    const bool valid = read_utf8(text, i).state == Utf8Char::State::kValid;
    while (end < text.size()) {
      const Utf8Char c = read_utf8(text, end);
      if ((c.state == Utf8Char::State::kValid) != valid) break;
      end += c.num_bytes;
    }
    std::vector<std::string_view> run = {text.substr(i, end - i)};
    for (std::size_t p = 0; valid && p < patterns_.size(); ++p) {
      std::vector<std::string_view> finer;
      finer.reserve(run.size());
      for (const std::string_view piece : run) patterns_[p]->split(piece, scratch, finer);
      run = std::move(finer);
    }
    pieces.insert(pieces.end(), run.begin(), run.end());
    i = end;
  }
  return pieces;
}

}  // namespace tandem
