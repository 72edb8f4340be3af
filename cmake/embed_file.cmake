# Run by tandem_embed: writes OUTPUT, a C++ source that holds the bytes of INPUT under NAME.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" length)
math(EXPR bytes "${length} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," array "${hex}")
file(WRITE ${OUTPUT} "#include <string_view>
namespace tandem::data {
namespace {
constexpr unsigned char kBytes[] = {${array}0};
}
extern const std::string_view ${NAME};
const std::string_view ${NAME}(reinterpret_cast<const char*>(kBytes), ${bytes});
}  // namespace tandem::data
")
