#include "bondd/control/server_choice.h"

#include <algorithm>
#include <iterator>

#include "bondd/plan/servers.h"

namespace bondd::control {

void ServerChoice::set(TimePoint now, const std::vector<model::Wan>& wans,
                       const std::vector<IpAddress>& addresses) {
  std::map<std::string, Line> lines;
  std::map<std::string, IpAddress> by_wan;
  for (const model::Wan& wan : wans) {
    const auto before = by_wan_.find(wan.name);
    Line line;
    line.candidates = plan::server_candidates(wan, addresses);
    line.since = now;
    if (line.candidates.empty()) continue;
    const auto& all = line.candidates;
    const bool stays =
        before != by_wan_.end() && std::find(all.begin(), all.end(), before->second) != all.end();
    if (stays) {
      line.since = lines_[wan.name].since;
      line.heard_here = lines_[wan.name].heard_here;
      line.answers = lines_[wan.name].answers;
    }
    by_wan.emplace(wan.name, stays ? before->second : all.front());
    lines.emplace(wan.name, std::move(line));
  }
  lines_ = std::move(lines);
  by_wan_ = std::move(by_wan);
}

std::vector<ServerChoice::Move> ServerChoice::handle_states(TimePoint now,
                                                            const std::vector<model::WanStatus>& states) {
  for (const model::WanStatus& status : states) {
    const auto line = lines_.find(status.name);
    if (line == lines_.end()) continue;
    line->second.answers = model::is_heard(status.state);
    if (!line->second.answers) continue;
    line->second.heard_here = true;
    line->second.since = now;
  }
  std::vector<Move> moves;
  for (auto& [wan, line] : lines_) {
    IpAddress& address = by_wan_.at(wan);
    if (now - line.since < kSilencePatience) continue;
    if (line.heard_here && carries_for_another(wan, address)) continue;
    const IpAddress to = next(wan, line);
    line.since = now;
    if (to == address) continue;
    moves.push_back({wan, address, to});
    address = to;
    line.heard_here = false;
  }
  return moves;
}

bool ServerChoice::carries_for_another(const std::string& wan, const IpAddress& address) const {
  return std::any_of(lines_.begin(), lines_.end(), [&](const auto& entry) {
    return entry.first != wan && entry.second.answers && by_wan_.at(entry.first) == address;
  });
}

IpAddress ServerChoice::next(const std::string& wan, const Line& line) const {
  const IpAddress current = by_wan_.at(wan);
  auto order = line.candidates;  // from the one after the current on, the current one last
  const auto here = std::find(order.begin(), order.end(), current);
  std::rotate(order.begin(), std::next(here), order.end());
  const auto proven = std::find_if(order.begin(), order.end(), [&](const IpAddress& address) {
    return address != current && carries_for_another(wan, address);
  });
  return proven != order.end() ? *proven : order.front();
}

}  // namespace bondd::control
