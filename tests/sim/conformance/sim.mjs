// The simulator as the scripts see it: its address and its admin API.

export class Sim {
  /** @param {string} address HOST:PORT */
  constructor (address) {
    this.address = address
  }

  async admin (path, body) {
    const options = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
    const response = await fetch(`https://${this.address}/admin/${path}`, options)
    const answer = await response.json()
    if (!response.ok) throw new Error(`${path}: ${answer.error}`)
    return answer
  }

  /** What the phone of `number` shows under `id`. */
  async shown (number, id) {
    return (await this.admin(`inbox/${number}`)).find(item => item.id === id)
  }

  /** A receipt of `kind` for `id` at the phone of `number`. */
  async receipt (number, kind, id) {
    return (await this.admin(`receipts/${number}`)).find(r => r.kind === kind && r.ids.includes(id))
  }
}
