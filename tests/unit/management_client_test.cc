#include "bondd/control/management_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace bondd::control {
namespace {

namespace fs = std::filesystem;

class ManagementClientTest : public ::testing::Test {
 protected:
  ManagementClientTest() {
    std::string name = (fs::temp_directory_path() / "bondd-management-XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
    path_ = dir_ / "openvpn.sock";
  }
  ~ManagementClientTest() override { fs::remove_all(dir_); }

  UniqueFd listen() {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 1), 0);
    return fd;
  }

  fs::path dir_, path_;
};

TEST_F(ManagementClientTest, AsksForStatesAndGetsThem) {
  const UniqueFd server = listen();
  Result<ManagementClient> client = ManagementClient::connect(path_);
  ASSERT_TRUE(client) << client.error().message;
  UniqueFd openvpn(::accept(server.get(), nullptr, nullptr));
  std::array<char, 100> asked{};
  ASSERT_GT(::read(openvpn.get(), asked.data(), asked.size()), 0);
  EXPECT_STREQ(asked.data(), "state on all\n");
  EXPECT_TRUE(client->receive().messages.empty());
  const std::string_view text = ">STATE:1,CONNECTED,SUCCESS,,203.0.113.10,1194,,\r\n";
  ASSERT_EQ(::write(openvpn.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  const auto received = client->receive();
  ASSERT_EQ(received.messages.size(), 1U);
  EXPECT_EQ(std::get<openvpn::StateMessage>(received.messages[0]).state, "CONNECTED");
  EXPECT_FALSE(received.closed);
  openvpn.reset();
  EXPECT_TRUE(client->receive().closed);
}

TEST_F(ManagementClientTest, ASocketThatIsNotThereYetIsToBeTriedAgain) {
  const Result<ManagementClient> client = ManagementClient::connect(path_);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ENOENT);
  listen().reset();
  EXPECT_EQ(ManagementClient::connect(path_).error().code, ECONNREFUSED);
  EXPECT_EQ(ManagementClient::connect("/" + std::string(200, 'x')).error().code, ENAMETOOLONG);
}

}  // namespace
}  // namespace bondd::control
