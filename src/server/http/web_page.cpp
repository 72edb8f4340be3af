#include "server/http/web_page.h"

#include <string_view>

namespace tandem {
namespace data {

extern const std::string_view kWebPage;

}  // namespace data

void serve_web_page(HttpExchange& exchange) {
  HttpResponse response;
  response.content_type = "text/html; charset=utf-8";
  response.body = data::kWebPage;
  // The page is one file and loads nothing from elsewhere.
  response.headers = {{"Content-Security-Policy",
                       "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                       "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                       "frame-ancestors 'none'"},
                      {"Cache-Control", "no-cache"}};
  exchange.respond(std::move(response));
}

}  // namespace tandem
