#pragma once

namespace tandem {

// What the program's exit says to scripts and to `fleet` (CLI contract).
enum ExitCode : int {
  kExitDone = 0,
  kExitFailed = 1,        // while running
  kExitBadInput = 2,      // wrong usage; what cannot be read or is not supported
  kExitFinding = 3,       // a check that was asked for found an error
  kExitDoesNotFit = 4,    // no plan fits
  kExitDeviceFailed = 5,  // a GPU failed and is lost to this process; a new one may find it well
};

}  // namespace tandem
