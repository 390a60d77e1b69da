// Recorded results: a file of lines that another compiler or machine must come to as well.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace ballast {

// Compares `lines` with the file, or writes them there where the environment has `variable`. What differs is
// told line by line.
inline void ExpectGolden(const std::string& path, const char* variable, const std::string& lines) {
  if (std::getenv(variable) != nullptr) {
    std::ofstream(path) << lines;
    return;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing; " << variable << "=1 writes it";
  std::istringstream found_lines(lines);
  std::string found, recorded;
  while (std::getline(file, recorded)) {
    ASSERT_TRUE(std::getline(found_lines, found)) << path << " has more: " << recorded;
    EXPECT_EQ(found, recorded) << path << "; where plans were to change, " << variable << "=1 writes it anew";
  }
  EXPECT_FALSE(std::getline(found_lines, found)) << path << " lacks: " << found;
}

}  // namespace ballast
