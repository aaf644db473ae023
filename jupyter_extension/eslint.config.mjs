import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["lib", "node_modules", "src/types.ts"] },
  ...tseslint.configs.recommendedTypeChecked.map((config) => ({ ...config, files: ["src/**/*.ts", "timeline/**/*.ts"] })),
  {
    files: ["src/**/*.ts", "timeline/**/*.ts"],
    languageOptions: { parserOptions: { project: ["./tsconfig.json", "./timeline/tsconfig.json"], tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      // A signal's slot is given with its `this`.
      "@typescript-eslint/unbound-method": "off",
      "@typescript-eslint/explicit-function-return-type": ["error", { allowExpressions: true }],
      "@typescript-eslint/no-floating-promises": "error",
      eqeqeq: "error",
      "no-console": "error",
    },
  },
);
