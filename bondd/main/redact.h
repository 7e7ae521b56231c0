// Takes secrets, and on request addresses, out of texts for a bug report. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bondd {

class Redactor {
 public:
  // `anonymise`: public IP addresses and MAC addresses become "ip-1", "mac-1", the same one the same in all
  // texts. Those of private networks, which everybody has, stay: they say how the networks hang together.
  explicit Redactor(bool anonymise) : anonymise_(anonymise) {}

  // The content of a key or password file: each of its lines is removed wherever it stands. Lines of fewer
  // than kShortest characters are words of any text and stay; passwords of that length are refused by bondd.
  void add_secret(std::string_view content);
  // Stands in texts as `instead`; for names of hosts. Nothing without `anonymise`.
  void add_name(const std::string& name, const std::string& instead);

  // Known secrets, PEM blocks, tokens, and what stands behind "password =" and its like, as "[removed]".
  [[nodiscard]] std::string clean(std::string_view text);

  static constexpr std::size_t kShortest = 6;

 private:
  std::string clean_line(std::string line);
  std::string anonymous(std::string_view line);
  std::string numbered(const std::string& what, const std::string& value);

  bool anonymise_;
  bool in_pem_ = false;
  std::vector<std::string> secrets_;  // longest first
  std::map<std::string, std::string> names_;
  std::map<std::string, std::string> numbers_;  // address -> "ip-1"
  std::map<std::string, int> counts_;           // by kind
};

}  // namespace bondd
