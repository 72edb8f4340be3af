#pragma once

#include <filesystem>
#include <vector>

#include "machine/survey.h"

namespace tandem {

// Tools of this computer that tell what no file and no library does: nvidia-smi (-q -x, topo -m,
// nvlink -s) and, for root, dmidecode (slots of the board, memory modules).
struct LocalTools {
  // Where programs are looked for, in this order; not PATH, which others may have set.
  std::vector<std::filesystem::path> folders{"/usr/sbin", "/usr/bin",       "/sbin",
                                             "/bin",      "/usr/local/bin", "/usr/lib/wsl/lib"};
  double seconds = 6;  // for all together: they run side by side
  bool is_root = false;
};

// Runs the tools that are installed and enters what they print; a tool that is missing is no fault,
// one that fails or hangs is named in survey.sources. Blocks up to `tools.seconds`.
void read_local_tools(const LocalTools& tools, Survey& survey);

}  // namespace tandem
