// `promtool check metrics` on the text of a scrape.
#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace ballast {

inline bool HavePromtool() { return std::system("promtool --version >/dev/null 2>&1") == 0; }

// What promtool complains of; empty = nothing. `scratch` is a folder to write to.
inline std::string PromtoolComplaints(const std::string& text, const std::string& scratch) {
  const std::string metrics = scratch + "/metrics.txt";
  const std::string complaints = scratch + "/complaints.txt";
  std::ofstream(metrics) << text;
  const int status =
      std::system(("promtool check metrics < " + metrics + " > " + complaints + " 2>&1").c_str());
  std::ostringstream told;
  told << std::ifstream(complaints).rdbuf();
  if (status == 0 && told.str().empty()) return "";
  return told.str() + "(status " + std::to_string(status) + ")";
}

// Lines of the text that are samples.
inline int CountSamples(const std::string& text) {
  std::istringstream lines(text);
  int samples = 0;
  for (std::string line; std::getline(lines, line);) samples += !line.empty() && line[0] != '#';
  return samples;
}

}  // namespace ballast
