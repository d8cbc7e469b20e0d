// Runs one hourly billing of the application in FOLDER (the first argument), as its own timer would, and prints what it says of
// it. CLOCK_OFFSET_MS lets its clock stand elsewhere, as containerstacks.clock_offset does to the database's.
const offset = Number(process.env.CLOCK_OFFSET_MS ?? 0);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...values: unknown[]) {
    // @ts-expect-error The constructor's overloads do not spread.
    super(...(values.length ? values : [RealDate.now() + offset]));
  }
  static now() {
    return RealDate.now() + offset;
  }
} as DateConstructor;

const say = console.log;
console.log = console.warn = console.error = () => {};
const { BillingService } = await import(`${process.argv[2]}/api/services/billingService.ts`);
const { billedInstances, failedInstances, totalAmount } = await BillingService.runHourlyBilling();
say(JSON.stringify({ billed: billedInstances, failed: failedInstances.length, amount: totalAmount }));
process.exit(0);
