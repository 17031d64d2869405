// Signs typed data with viem and with ethers. In, a line each: {key, type, message},
// the numbers of message in decimal strings. Out, a line each: {viem, ethers}, the
// signatures.
//
// The types are those of protocol section 4, as a wallet would be given them.
import { createInterface } from "node:readline";
import { Wallet } from "ethers";
import { privateKeyToAccount } from "viem/accounts";

const domain = { name: "Kaizen", version: "1", chainId: 1 };
const types = Object.fromEntries(
  [
    "Kaizen:Transfer(uint64 timestamp,address from,address to,uint64 amount)",
    "Kaizen:NominateApiWallet(uint64 timestamp,address from,address wallet,uint64 expiry)",
    "Kaizen:RevokeApiWallet(uint64 timestamp,address from,address wallet)",
    "Kaizen:Deposit(uint64 timestamp,address from,address user,uint64 amount,bytes32 externalTxHash)",
    "Kaizen:Withdraw(uint64 timestamp,address from,uint64 amount,address destination)",
    "Kaizen:ProcessWithdrawal(uint64 timestamp,address from,uint64 withdrawalId,bytes32 externalTxHash)",
    "Kaizen:RfqSubmit(uint64 timestamp,address from,bytes32 quoteHash)",
    "Kaizen:RfqSettle(uint64 timestamp,address from,uint64 thesisId)",
    "Kaizen:SystemSettle(uint64 timestamp,address from,uint64 thesisId,uint8 settlementType,uint64 breachTimestamp,uint64 breachPrice)",
    "Kaizen:Admin(uint64 timestamp,address from,bytes32 actionHash)",
    "Kaizen:Quote(uint8 thesisType,address base,address quote,uint64 lower,uint64 upper,uint64 betAmount,uint64 payout,uint64 start,uint64 end,uint64 deadline,address user,address solver,uint64 salt)",
  ].map((text) => {
    const [, name, fields] = text.match(/^([\w:]+)\((.*)\)$/);
    return [name, fields.split(",").map((f) => ({ type: f.split(" ")[0], name: f.split(" ")[1] }))];
  }),
);

function typed(fields, message) {
  return Object.fromEntries(
    fields.map(({ type, name }) => {
      const v = message[name];
      if (v === undefined) throw new Error(`no value for ${name}`);
      if (type === "uint64") return [name, BigInt(v)];
      return [name, type === "uint8" ? Number(v) : v];
    }),
  );
}

for await (const line of createInterface({ input: process.stdin })) {
  const { key, type, message } = JSON.parse(line);
  const values = typed(types[type], message);
  const signatures = {
    viem: await privateKeyToAccount(key).signTypedData({ domain, types, primaryType: type, message: values }),
    ethers: await new Wallet(key).signTypedData(domain, { [type]: types[type] }, values),
  };
  console.log(JSON.stringify(signatures));
}
