// The token goes to bondd in a header, so that it stands in no history; a cookie comes back that scripts
// cannot read.
const answer = document.getElementById("answer");

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value;
  try {
    const reply = await fetch("login", { headers: { Authorization: `Bearer ${token}` } });
    if (reply.ok) return location.replace("./");
    answer.textContent = "This is not the token.";
  } catch {
    answer.textContent = "bondd does not answer, or this cannot be a token.";
  }
});
