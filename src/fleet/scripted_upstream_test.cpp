#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/clock.h"
#include "fleet/scripted_upstream_for_test.h"

namespace tandem {

ScriptedUpstream::ScriptedUpstream(std::string mark, const std::string& path, std::uint16_t port,
                                   const TestCertificate* certificate)
    : mark_(std::move(mark)) {
  HttpServerOptions options;
  options.port = port;
  if (!path.empty()) options.host = path;
  options.num_threads = 1;
  if (certificate != nullptr) {
    options.certificate_file = certificate->certificate_file();
    options.key_file = certificate->key_file();
  }
  options.make_error = [](int status, const std::string& message) {
    return HttpResponse{status, "text/plain", message, {}};
  };
  auto server = HttpServer::start(options, [this](auto exchange) { handle(exchange); });
  TANDEM_CHECK(server.ok(), server.error().to_string());
  server_ = std::move(*server);
}

ScriptedUpstream::~ScriptedUpstream() = default;

void ScriptedUpstream::handle(const std::shared_ptr<HttpExchange>& exchange) {
  const HttpRequest& request = exchange->request();
  if (request.path == "/health") return exchange->respond({200, "application/json", "{}", {}});
  if (request.path == "/metrics" && steps >= 0) {
    return exchange->respond(
        {200, "text/plain", fmt::format("llamacpp:n_decode_total {}\n", steps.load()), {}});
  }
  if (request.method != "POST") {
    return exchange->respond({200,
                              "application/json",
                              nlohmann::json{{"mark", mark_}, {"path", request.path}}.dump(),
                              {}});
  }
  ++num_requests;
  ++num_running;
  exchange->on_gone([this] {
    --num_running;
    ++num_gone;
  });
  std::string text;
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\n";
  {
    const std::lock_guard lock(mutex_);
    last_request_ = text + "\n" + request.body;
  }
  const auto json = nlohmann::json::parse(request.body, nullptr, false);
  const std::string prompt = json.is_object() ? json.value("prompt", "") : "";
  const bool dies = json.is_object() && json.value("die", false);
  const Mode mode = dies ? Mode::kDieAtOnce : mode_.load();
  if (mode == Mode::kHang) return;
  if (mode == Mode::kDieAtOnce) {
    exchange->begin_stream({200, "text/event-stream", "", {}});
    return exchange->abort();
  }
  if (mode == Mode::kRefuse) {
    --num_running;
    return exchange->respond(
        {status_, "application/json", R"({"error":{"message":"refused"}})", {}});
  }
  Script script{prompt, num_events, event_delay_ms};
  if (json.is_object()) {
    script.num_events = json.value("events", script.num_events);
    script.delay_ms = json.value("delay_ms", script.delay_ms);
  }
  if (json.is_object() && json.value("stream", false)) {
    exchange->begin_stream({200, "text/event-stream", "", {}});
    return stream(exchange, script, 0);
  }
  const auto answer = [this, exchange, prompt] {
    --num_running;
    exchange->respond(
        {200, "application/json", nlohmann::json{{"mark", mark_}, {"prompt", prompt}}.dump(), {}});
  };
  if (script.delay_ms == 0) return answer();
  exchange->post_after(script.delay_ms, answer);
}

void ScriptedUpstream::stream(const std::shared_ptr<HttpExchange>& exchange, const Script& script,
                              int index) {
  for (; index < script.num_events; ++index) {
    const Mode mode = mode_;
    if (index >= script.num_events / 2 && mode == Mode::kDieMidway) {
      // What was sent gets time to go out.
      return exchange->post_after(20, [exchange] { exchange->abort(); });
    }
    if (index >= script.num_events / 2 && mode == Mode::kStall) return;
    exchange->send(
        "data: " +
        nlohmann::json{{"mark", mark_}, {"prompt", script.prompt}, {"index", index}}.dump() +
        "\n\n");
    const auto go_on = [this, exchange, script, index] { stream(exchange, script, index + 1); };
    if (script.delay_ms > 0) return exchange->post_after(script.delay_ms, go_on);
    if (exchange->unsent_bytes() >= HttpExchange::kFullBytes) {
      return exchange->when_there_is_room(go_on);
    }
  }
  exchange->send("data: [DONE]\n\n");
  --num_running;
  exchange->end_stream();
}

RawUpstream::RawUpstream(std::string answer) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool listens =
      ::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(socket_, 16) == 0;
  TANDEM_CHECK(listens, "no port for a test");
  socklen_t size = sizeof address;
  ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this, answer = std::move(answer)] {
    while (true) {
      const int client = ::accept(socket_, nullptr, nullptr);
      if (client < 0) return;
      std::string head;
      char buffer[4096];
      ssize_t got = 0;
      while (head.find("\r\n\r\n") == std::string::npos &&
             (got = ::recv(client, buffer, sizeof buffer, 0)) > 0) {
        head.append(buffer, static_cast<std::size_t>(got));
      }
      ::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(client);
    }
  });
}

RawUpstream::~RawUpstream() {
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
  ::close(socket_);
}

bool eventually(const std::function<bool()>& condition, int timeout_ms) {
  const std::int64_t limit = monotonic_us() + std::int64_t{timeout_ms} * 1000;
  while (!condition()) {
    if (monotonic_us() > limit) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace tandem
