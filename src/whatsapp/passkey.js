(() => {
  const options = {{options}};
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const allowed = (options.allowCredentials || []).map((one) => ({ ...one, id: bytes(one.id) }));
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: allowed };
  const button = document.createElement('button');
  const offer = (words, work) => {
    button.textContent = words;
    button.onclick = async () => {
      try { await work(); } catch (error) { button.textContent = words + ' (' + error.message + ')'; }
    };
  };
  offer('Use my passkey', async () => {
    const { id, rawId, type, response } = await navigator.credentials.get({ publicKey });
    const answer = JSON.stringify({
      id, rawId: text(rawId), type,
      response: {
        clientDataJSON: text(response.clientDataJSON),
        authenticatorData: text(response.authenticatorData),
        signature: text(response.signature),
        userHandle: response.userHandle ? text(response.userHandle) : null,
      },
    });
    console.log(answer);
    offer('Copy the answer', async () => {
      await navigator.clipboard.writeText(answer);
      offer('Copied: give it to the bridge', () => button.remove());
    });
  });
  button.style.cssText = 'position:fixed;inset:0;margin:auto;width:20rem;height:5rem;font-size:1.2rem;background:#fff;color:#000;border:3px solid #000;z-index:2147483647';
  document.body.append(button);
})();
