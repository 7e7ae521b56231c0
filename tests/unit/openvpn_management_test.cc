#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "openvpn-profiles/management.h"

namespace bondd::openvpn {
namespace {

using ::testing::ElementsAre;

TEST(Management, ParsesWhatOpenVpnSays) {
  MessageReader reader;
  const auto messages = reader.feed(
      ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
      "SUCCESS: real-time state notification set to ON\r\n"
      ">STATE:1700000000,RECONNECTING,tls-error,,,,,\r\n"
      ">STATE:1700000000,CONNECTED,SUCCESS,,203.0.113.10,1194,,\r\n"
      ">BYTECOUNT:1000,2000\r\n"
      ">LOG:1700000000,N,TLS Error: a, b\r\n"
      ">FATAL:cannot open, really\r\n"
      ">HOLD:Waiting for hold release:0\r\n"
      "ERROR: unknown command, enter 'help' for more options\r\n"
      "END\r\n");
  EXPECT_THAT(
      messages,
      ElementsAre(
          Message(OtherMessage{">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info"}),
          Message(Answer{true, "real-time state notification set to ON"}),
          Message(StateMessage{"RECONNECTING", "tls-error", "", ""}),
          Message(StateMessage{"CONNECTED", "SUCCESS", "203.0.113.10", "1194"}),
          Message(ByteCount{1000, 2000}), Message(LogMessage{"N", "TLS Error: a, b"}),
          Message(FatalMessage{"cannot open, really"}), Message(HoldMessage{}),
          Message(Answer{false, "unknown command, enter 'help' for more options"}),
          Message(OtherMessage{"END"})));
}

TEST(Management, PiecesOfLinesAreJoined) {
  MessageReader reader;
  EXPECT_TRUE(reader.feed(">BYTECO").empty());
  EXPECT_TRUE(reader.feed("UNT:1,2\r").empty());
  EXPECT_THAT(reader.feed("\n"), ElementsAre(Message(ByteCount{1, 2})));
}

TEST(Management, WhatIsNotWellFormedIsKeptAsText) {
  for (const char* line : {">STATE:", ">STATE:x,CONNECTED", ">BYTECOUNT:1", ">BYTECOUNT:-1,2",
                           ">BYTECOUNT:1,2x", ">LOG:", ">", ">NEW", "SUCCESS", ">STATE:1,"}) {
    EXPECT_EQ(parse_message(line), Message(OtherMessage{line})) << line;
  }
}

TEST(Management, AnEndlessLineIsBounded) {
  MessageReader reader;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(reader.feed(std::string(1000, 'x')).empty());
  const auto messages = reader.feed("\n>BYTECOUNT:1,2\n");
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(std::get<OtherMessage>(messages[0]).text.size(), MessageReader::kLineMax);
  EXPECT_EQ(messages[1], Message(ByteCount{1, 2}));
}

TEST(Management, CommandsAreLines) {
  for (const Command command : {Command::kStateOn, Command::kLogOn, Command::kByteCountOn,
                                Command::kHoldRelease, Command::kSignalTerm, Command::kQuit}) {
    EXPECT_TRUE(render(command).ends_with('\n'));
  }
}

}  // namespace
}  // namespace bondd::openvpn
