// A fixture whose tests each run in a network namespace of their own, made in the test's
// process: nothing outside it is seen or touched. Needs root; without it the test is
// skipped and says so.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace bondd::testing {

class OwnNetns : public ::testing::Test {
 protected:
  void SetUp() override;

  // Runs a command line as the machine's admin would; its output is in the failure's message.
  static void admin(const std::string& command);
  // Standard output of a command.
  static std::string output_of(const std::string& command);
};

}  // namespace bondd::testing
