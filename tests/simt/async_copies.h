#pragma once

#include <cstdint>
#include <vector>

namespace simt {

class RaceChecker;

// The cp.async copies of one GPU thread: begun, put into groups, and done when the thread waits for
// their group and not before, so that a missing wait shows. races: null where nobody checks; place:
// the code that does it, for the checker's report.
class AsyncCopies {
 public:
  // Copies `source_bytes`, and fills up with zeros to `bytes`, some time.
  void begin(void* to, const void* from, int bytes, int source_bytes, RaceChecker* races,
             const void* place);
  // What was begun since the last commit() is a group.
  void commit();
  // Does all groups but the last `groups_left`.
  void wait(int groups_left, RaceChecker* races, const void* place);
  // Forgets what nobody waited for.
  void reset() { groups_.clear(); }

 private:
  struct Copy {
    void* to;
    const void* from;
    int bytes;
    int source_bytes;
    std::uint64_t begun;  // what RaceChecker says of its start
  };
  static void finish(const Copy& copy, RaceChecker* races, const void* place);

  std::vector<std::vector<Copy>> groups_;  // committed ones, and the open one at the end
};

}  // namespace simt
