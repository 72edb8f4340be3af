#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "app/command.h"
#include "app/default_model.h"
#include "app/draft_options.h"
#include "app/session.h"
#include "base/checked.h"
#include "base/log.h"
#include "comm/local/local_group.h"
#include "engine/sampler.h"
#include "server/model_server.h"
#include "server/native/rerank_head.h"
#include "server/structured_output.h"
#include "text/chat_template.h"

namespace tandem {
namespace {

// Sequences at once where -np is not given.
constexpr std::int32_t kDefaultParallel = 8;

struct ServeOptions {
  ModelOptions model;
  ModelServerOptions server;
  EngineOptions engine;
  SamplingParams sampling;
  std::int32_t max_tokens = -1;
  std::optional<std::int64_t> kv_tokens;
  DraftModelOptions draft;
  std::string trace_path;
  std::string alias;
  std::string access_log = "-";
  std::int64_t drain_timeout_s = 30;
  std::uint64_t max_body_mib = 16;
  bool no_page = false;
  bool no_prefix_cache = false;
  std::string pooling = "auto";
  std::int32_t keep_alive_s = 0;
};

// What a served model needs to live. Destroyed in reverse: the engine after the server.
struct LoadedModel {
  std::unique_ptr<Engine> engine;
  ServedModel served;
  // Why the model cannot be run any more in this process.
  std::shared_ptr<SharedFailure> loss = std::make_shared<SharedFailure>();
};

// The total of KV tokens by hand: the plan's blocks and bytes follow.
void set_kv_tokens(Plan& plan, std::int64_t tokens) {
  const auto blocks = static_cast<std::int32_t>(
      std::max<std::int64_t>(1, ceil_div<std::int64_t>(tokens, plan.kv.block_tokens)));
  for (StagePlan& stage : plan.stages) {
    for (RankPlan& rank : stage.ranks) {
      rank.kv_bytes = rank.kv_bytes / plan.kv.num_blocks * blocks;
    }
  }
  plan.kv.num_blocks = blocks;
}

std::string name_of_model(const ServeOptions& options) {
  if (!options.alias.empty()) return options.alias;
  if (options.model.model_path.empty()) {
    return std::string(kDefaultModelName.substr(0, kDefaultModelName.find(' ')));
  }
  return std::filesystem::path(options.model.model_path).filename().string();
}

// How embeddings are pooled: by the flag, by the file's `pooling_type` (llama.h's enum
// llama_pooling_type), or by the last token, the only one that has seen the whole prompt.
Result<Pooling> pooling_of(const std::string& flag, const GgufFile& file) {
  if (flag == "mean") return Pooling::kMean;
  if (flag == "cls") return Pooling::kFirst;
  if (flag == "last") return Pooling::kLast;
  TANDEM_TRY(const auto architecture, file.get_string("general.architecture"));
  TANDEM_TRY(const auto type, file.get_uint_or(std::string(architecture) + ".pooling_type", 3));
  return type == 1 ? Pooling::kMean : type == 2 ? Pooling::kFirst : Pooling::kLast;
}

Result<LoadedModel> load(const ServeOptions& options) {
  TANDEM_TRY(const OpenedModel model, open_model(options.model.model_path));
  TANDEM_TRY(auto tokenizer, Tokenizer::create(*model.file));
  TANDEM_TRY(auto chat_template, ChatTemplate::from_gguf(*model.file));
  const std::int32_t num_drafts = drafts_per_step(options.draft);
  const std::int32_t rows = options.model.parallel * (1 + num_drafts);
  TANDEM_TRY(Plan plan, make_plan(model.spec, options.model, rows));
  if (options.kv_tokens) set_kv_tokens(plan, *options.kv_tokens);
  LoadedModel loaded;
  loaded.served.plan_json = to_json(plan).dump();
  RuntimeOptions runtime_options;
  if (!options.trace_path.empty()) {
    TANDEM_TRY(runtime_options.trace, TraceWriter::create(options.trace_path));
  }
  TANDEM_TRY(auto runtime, start_runtime(model, plan, options.model, runtime_options));

  ServedModel& served = loaded.served;
  served.tokenizer = std::shared_ptr<const Tokenizer>(std::move(tokenizer));
  served.chat_template = std::make_shared<ChatTemplate>(std::move(chat_template));
  served.make_constraint = make_constraint_compiler(served.tokenizer);
  served.default_sampling = options.sampling;
  served.default_max_tokens = options.max_tokens;
  served.name = name_of_model(options);
  served.model_path = options.model.model_path;
  served.num_parameters = model.spec.num_parameters();
  served.file_bytes = model.spec.weight_bytes();
  served.trained_context_tokens = model.spec.context_tokens;
  served.embedding_length = model.spec.hidden_size;
  TANDEM_TRY(served.pooling, pooling_of(options.pooling, *model.file));
  TANDEM_TRY(served.rerank, RerankHead::from_gguf(*model.file, model.spec.hidden_size));
  served.keep_alive_ms = std::int64_t{options.keep_alive_s} * 1000;
  served.created_unix_s = std::chrono::duration_cast<std::chrono::seconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count();

  EngineOptions engine = options.engine;
  engine.prefix_cache = !options.no_prefix_cache;
  engine.make_sampler = make_sampler_factory(served.tokenizer);
  engine.trace = runtime_options.trace;
  engine.draft_tokens = num_drafts;
  if (!options.draft.model_path.empty()) {
    TANDEM_TRY(engine.draft_model, load_draft_model(options.draft, options.model, plan,
                                                    served.tokenizer->vocabulary()));
  }
  engine.rebuild_runner = [model, plan, model_options = options.model,
                           runtime_options]() -> Result<std::unique_ptr<ModelRunner>> {
    TANDEM_TRY(auto rebuilt, start_runtime(model, plan, model_options, runtime_options));
    return std::unique_ptr<ModelRunner>(std::move(rebuilt));
  };
  // A GPU that has failed may stay so in a process; a new one may find it well. Who supervises this
  // one learns of it by the end and its exit code.
  engine.on_lost = [loss = loaded.loss](const Error& error) {
    loss->set(error);
    kill(getpid(), SIGTERM);
  };
  loaded.engine = std::make_unique<Engine>(std::move(runtime), served.tokenizer, std::move(engine));
  served.engine = loaded.engine.get();
  return loaded;
}

// The signals that end the server, make it read its keys again, or tell that the model is loaded.
sigset_t server_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) sigaddset(&signals, number);
  return signals;
}

int wait_for_signal(const sigset_t& signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

void reload_keys(ModelServer& server) {
  const Status status = server.reload_keys();
  if (status.ok()) {
    spdlog::info("the API keys were read again");
  } else {
    spdlog::error("the old API keys stay: {}", status.error().to_string());
  }
}

// Until SIGINT or SIGTERM. A second one during the drain ends the program at once.
void serve_until_signalled(ModelServer& server, const sigset_t& signals, std::int64_t timeout_s) {
  while (true) {
    const int number = wait_for_signal(signals);
    if (number == SIGHUP) reload_keys(server);
    if (number == SIGINT || number == SIGTERM) break;
  }
  spdlog::info("shutting down: running requests have {} s", timeout_s);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  server.drain(timeout_s * 1000);
}

Result<std::function<void(const std::string&)>> open_access_log(const std::string& path) {
  if (path.empty() || path == "none") return std::function<void(const std::string&)>();
  std::shared_ptr<std::FILE> file(stderr, [](std::FILE*) {});
  if (path != "-") {
    file.reset(std::fopen(path.c_str(), "ae"), [](std::FILE* opened) {
      if (opened != nullptr) std::fclose(opened);
    });
  }
  if (file == nullptr) return Error{ErrorCode::kIo, "cannot be written", path, {}, {}};
  return std::function<void(const std::string&)>([file](const std::string& line) {
    // One call a line: lines of several threads do not mix.
    const std::string whole = line + "\n";
    std::fwrite(whole.data(), 1, whole.size(), file.get());
    std::fflush(file.get());
  });
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.") ||
         host.ends_with(".sock");
}

Status serve(ServeOptions options) {
  options.server.serve_page = !options.no_page;
  options.server.http.max_body_bytes = options.max_body_mib << 20;
  options.server.access.check_host = is_loopback(options.server.http.host);
  TANDEM_TRY(options.server.access_log, open_access_log(options.access_log));
  const bool has_keys =
      !options.server.access.keys.empty() || !options.server.access.key_file.empty();
  if (!has_keys && !is_loopback(options.server.http.host)) {
    spdlog::warn("anybody who reaches {} can use the server: no --api-key was given",
                 options.server.http.host);
  }

  // Before any thread is there: they all inherit it, and signals come to sigwait alone.
  const sigset_t signals = server_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const std::string scheme = options.server.http.certificate_file.empty() ? "http" : "https";
  LoadedModel loaded;  // outlives the server, whatever the way out
  TANDEM_TRY(const auto server, ModelServer::start(options.server));

  auto loading = std::async(std::launch::async, [&options] {
    auto result = load(options);
    kill(getpid(), SIGUSR1);
    return result;
  });
  int number = 0;
  while ((number = wait_for_signal(signals)) != SIGUSR1) {
    if (number == SIGINT || number == SIGTERM) {
      spdlog::info("stopped while loading");
      std::fflush(nullptr);
      std::_Exit(0);
    }
  }
  auto result = loading.get();
  if (!result.ok()) return std::move(result).error();
  loaded = std::move(*result);
  server->serve(loaded.served);
  const std::string& host = options.server.http.host;
  const std::string place =
      host.ends_with(".sock") ? host : fmt::format("{}://{}:{}", scheme, host, server->port());
  fmt::print(stderr, "serving {} on {}\n", loaded.served.name, place);
  serve_until_signalled(*server, signals, options.drain_timeout_s);
  if (const auto loss = loaded.loss->get()) return *loss;
  return {};
}

void add_http_options(CLI::App& command, ServeOptions& options) {
  HttpServerOptions& http = options.server.http;
  AccessOptions& access = options.server.access;
  command.add_option("--host", http.host,
                     "Address to listen on, or a path FILE.sock: a Unix socket");
  command.add_option("--port", http.port, "Port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535));
  command.add_option("--api-key", access.keys, "A key that clients must have; may be repeated")
      ->delimiter(',');
  command.add_option("--api-key-file", access.key_file, "Keys, one a line; read again on SIGHUP");
  command.add_option("--cors-origin", access.origins, "Pages that may use the server; *: all");
  command.add_option("--allowed-host", access.hosts, "Names that the server is reached by");
  command.add_option("--ssl-cert-file", http.certificate_file, "PEM certificate chain: TLS");
  command.add_option("--ssl-key-file", http.key_file, "PEM private key");
  command.add_option("--threads-http", http.num_threads, "Threads that serve HTTP")
      ->check(CLI::Range(1, 256));
  command.add_option("--max-connections", http.max_connections)->check(CLI::Range(1, 1 << 20));
  command.add_option("--max-body-mib", options.max_body_mib, "Largest request")
      ->check(CLI::Range(1, 1024));
  command.add_option("--access-log", options.access_log, "FILE, - (standard error) or none");
  command
      .add_option("--drain-timeout", options.drain_timeout_s,
                  "Seconds that running requests have after SIGTERM")
      ->check(CLI::Range(0, 86400));
  command.add_flag("--no-webui", options.no_page, "No page at /");
  command
      .add_option("--sse-ping-interval", options.keep_alive_s,
                  "Seconds of silence after which a stream gets a comment; 0: none")
      ->check(CLI::Range(0, 3600));
  command
      .add_flag_function(
          "--metrics,--slots,--props,--embedding,--embeddings,--rerank,--reranking,--jinja,"
          "--no-warmup,--no-context-shift",
          [](std::int64_t) {}, "Always so; accepted for llama-server")
      ->group("llama.cpp");
}

void add_engine_options(CLI::App& command, ServeOptions& options) {
  command.add_option("-a,--alias", options.alias, "The model's name in answers");
  command
      .add_option("--kv-tokens", options.kv_tokens,
                  "Tokens in the KV cache, of all sequences; default: -c times -np")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  command.add_option("--max-queued", options.engine.max_queued, "Requests that may wait")
      ->check(CLI::Range(0, 1 << 20));
  command.add_flag("--no-prefix-cache", options.no_prefix_cache,
                   "Compute every prompt from its beginning");
  command
      .add_option("--pooling", options.pooling,
                  "Of embeddings: auto (as the file says, else last), mean, cls or last")
      ->check(CLI::IsMember({"auto", "mean", "cls", "last", "rank"}));
  add_draft_options(command, options.draft);
  command.add_option("--trace", options.trace_path,
                     "Write the steps of engine and ranks to FILE, in Chrome's trace format");
  SamplingParams& sampling = options.sampling;
  command.add_option("-n,--predict,--n-predict", options.max_tokens,
                     "Tokens of an answer where the request says nothing; -1: until the end");
  command.add_option("-s,--seed", sampling.seed, "Where the request has none; 0: a new one each");
  command.add_option("--temp", sampling.temperature);
  command.add_option("--top-k", sampling.top_k);
  command.add_option("--top-p", sampling.top_p);
  command.add_option("--min-p", sampling.min_p);
  command.add_option("--repeat-penalty", sampling.penalties.repeat);
  command.add_option("--repeat-last-n", sampling.penalties.last_n);
  command.add_option("--presence-penalty", sampling.penalties.presence);
  command.add_option("--frequency-penalty", sampling.penalties.frequency);
}

}  // namespace

void add_serve_command(CLI::App& app, CommandOutcome& outcome) {
  auto options = std::make_shared<ServeOptions>();
  options->model.parallel = kDefaultParallel;
  CLI::App* command =
      app.add_subcommand("serve", "Serve a model over HTTP: OpenAI's API and a page");
  add_model_options(*command, options->model);
  add_http_options(*command, *options);
  add_engine_options(*command, *options);
  command->callback(
      [options, &outcome] { finish_command(outcome, [&] { return serve(*options); }); });
}

}  // namespace tandem
